"""TensorRT, by whichever of its names it is installed.

- `tensorrt`: the data-centre flavour, from NVIDIA's own index.
- `tensorrt_rtx`: TensorRT for RTX, with its libraries.
- `tensorrt_rtx_bindings`: the bindings alone, as PyPI has them. Their libraries come inside the
  wheel `onnxruntime-ep-nv-tensorrt-rtx-cu13`, in a folder and under names that the loader would
  not look for; opened here first, the loader takes them by the names they carry inside.
"""

import ctypes
import importlib
import importlib.util
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.errors import LibraryMissing
from engine.plans.key import Flavour

MODULES = {
    "tensorrt": Flavour.TENSORRT,
    "tensorrt_rtx": Flavour.RTX,
    "tensorrt_rtx_bindings": Flavour.RTX,
}
"""Python modules of TensorRT, in order of preference."""

LIBRARIES_OF = "onnxruntime_ep_nv_tensorrt_rtx"
"""The package that has the libraries of `tensorrt_rtx_bindings` within."""

LIBRARIES = ("libcudart.so.*", "libtensorrt_rtx.so.*", "libtensorrt_onnxparser_rtx.so.*")
"""In the order in which they need one another."""

WARNING = 2
"""Messages of a lower severity value (errors) are collected for the message of a failure."""
KEPT_MESSAGES = 8
"""Number of messages collected; the last ones are the most specific."""


@dataclass(frozen=True)
class Library:
    """A loaded TensorRT."""

    flavour: Flavour
    version: str
    module: ModuleType

    @property
    def name(self) -> str:
        """Flavour and version, for messages."""
        return f"{self.flavour} {self.version}"


def load_tensorrt(flavour: Flavour | None = None) -> Library:
    """Return the first TensorRT that can be loaded.

    Args:
        flavour: the only one to accept; any if None.

    Raises:
        LibraryMissing: there is none; the message lists what was tried.
    """
    tried = []
    for name, kind in MODULES.items():
        if flavour not in (None, kind):
            continue
        try:
            module = _load(name)
        except (ImportError, OSError) as error:
            tried.append(f"{name}: {error}")
        else:
            return Library(kind, str(module.__version__), module)
    raise LibraryMissing(
        f"TensorRT cannot be loaded ({'; '.join(tried)}); install Hepar's extra `tensorrt-rtx`, or "
        "NVIDIA's `tensorrt` for a data-centre GPU"
    )


def collecting_logger(trt: Any) -> Any:
    """Return a logger that prints nothing and collects errors in `messages`, which is cleared.

    There is one per process: TensorRT keeps using the first logger that it was given, even after
    the builder or runtime that it was given to is gone.
    """
    if id(trt) not in _loggers:
        _loggers[id(trt)] = trt, _new_logger(trt)
    logger = _loggers[id(trt)][1]
    logger.messages.clear()
    return logger


_loggers: dict[int, tuple[Any, Any]] = {}
"""Module and logger of each TensorRT, by the id of the module."""


def _new_logger(trt: Any) -> Any:
    class CollectingLogger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: deque[str] = deque(maxlen=KEPT_MESSAGES)

        def log(self, severity: Any, message: str) -> None:
            if int(severity) < WARNING:
                self.messages.append(message.strip())

    return CollectingLogger()


def _load(name: str) -> ModuleType:
    if name == "tensorrt_rtx_bindings" and importlib.util.find_spec(name) is not None:
        _open_libraries()
    return importlib.import_module(name)


def _open_libraries() -> None:
    """Open the libraries that the bindings will ask for by their names."""
    spec = importlib.util.find_spec(LIBRARIES_OF)  # found, not imported: it is for ONNX Runtime
    for folder in map(Path, spec.submodule_search_locations or () if spec else ()):
        for pattern in LIBRARIES:
            for library in sorted(folder.glob(pattern))[-1:]:
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
