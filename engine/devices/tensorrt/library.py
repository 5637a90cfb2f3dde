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
"""Modules that speak for a TensorRT, in the order of preference."""

LIBRARIES_OF = "onnxruntime_ep_nv_tensorrt_rtx"
"""The package that has the libraries of `tensorrt_rtx_bindings` within."""

LIBRARIES = ("libcudart.so.*", "libtensorrt_rtx.so.*", "libtensorrt_onnxparser_rtx.so.*")
"""In the order in which they need one another."""

WARNING = 2
"""TensorRT's severities below this one are kept for the message of a failure."""
COMPLAINTS = 8
"""How many of them; the last say the most."""


@dataclass(frozen=True)
class Library:
    """A TensorRT that is loaded."""

    flavour: Flavour
    version: str
    module: ModuleType

    @property
    def name(self) -> str:
        """Flavour and version, for people."""
        return f"{self.flavour} {self.version}"


def load_tensorrt(flavour: Flavour | None = None) -> Library:
    """Return the first TensorRT that can be loaded here.

    Args:
        flavour: take only this one.

    Raises:
        LibraryMissing: there is none; the message says what was tried.
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
        f"no TensorRT here ({'; '.join(tried)}): install Hepar's extra `tensorrt-rtx`, or NVIDIA's "
        "`tensorrt` for a data-centre GPU"
    )


def keeper(trt: Any) -> Any:
    """Return a logger that prints nothing and keeps what is wrong, in `complaints`.

    It is the same for all of a process, emptied: TensorRT goes on using the first that it was
    given, even when whoever gave it is gone.
    """
    if id(trt) not in _keepers:
        _keepers[id(trt)] = trt, _new_keeper(trt)
    logger = _keepers[id(trt)][1]
    logger.complaints.clear()
    return logger


_keepers: dict[int, tuple[Any, Any]] = {}
"""Each TensorRT's module, and its logger."""


def _new_keeper(trt: Any) -> Any:
    class Keeper(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.complaints: deque[str] = deque(maxlen=COMPLAINTS)

        def log(self, severity: Any, message: str) -> None:
            if int(severity) < WARNING:
                self.complaints.append(message.strip())

    return Keeper()


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
