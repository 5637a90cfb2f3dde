"""Loading of TensorRT, under whichever name it is installed.

- `tensorrt`: for data-centre GPUs, from NVIDIA's own index.
- `tensorrt_rtx`: TensorRT for RTX, as NVIDIA's own download installs it.
- `tensorrt_rtx_bindings`: the same as PyPI has it; it loads its libraries from the wheel
  `tensorrt-rtx-cu13-libs`.
"""

import importlib
from collections import deque
from dataclasses import dataclass
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
            module = importlib.import_module(name)
        # OSError: the bindings are there, the shared libraries that they load are not.
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
        # The module is kept beside it, so that its id cannot be given to another one.
        _loggers[id(trt)] = trt, _new_logger(trt)
    logger = _loggers[id(trt)][1]
    logger.messages.clear()
    return logger


_loggers: dict[int, tuple[Any, Any]] = {}
"""Module and logger of each TensorRT, by the id of the module."""


def _new_logger(trt: Any) -> Any:
    class CollectingLogger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            # pybind11 wants this very call, not super(): it makes the C++ half of the object.
            trt.ILogger.__init__(self)
            self.messages: deque[str] = deque(maxlen=KEPT_MESSAGES)

        def log(self, severity: Any, message: str) -> None:
            if int(severity) < WARNING:
                self.messages.append(message.strip())

    return CollectingLogger()
