"""NVIDIA GPUs of this machine and checked CUDA runtime calls, by `cuda-python`."""

from dataclasses import dataclass
from typing import Any

from engine.errors import LibraryMissing


@dataclass(frozen=True)
class Gpu:
    """One GPU."""

    index: int
    name: str
    architecture: str
    """Compute capability, such as sm89."""
    memory_mb: int
    cuda: str
    """Newest CUDA version that the driver supports."""


def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use; at least one.

    Raises:
        LibraryMissing: no usable GPU, driver or library; the message names what is missing.
    """
    runtime = cuda_runtime()
    try:
        count = checked(runtime, runtime.cudaGetDeviceCount())
        driver = checked(runtime, runtime.cudaDriverGetVersion())
        found = tuple(_gpu(runtime, index, driver) for index in range(count))
    except CudaFailed as error:  # any failure: the caller must be able to use another device
        raise LibraryMissing(
            f"no NVIDIA GPU can be used here ({error}; {_driver(runtime)}); check `nvidia-smi`, "
            "install a newer driver, or serve on another device"
        ) from error
    if not found:
        raise LibraryMissing("no NVIDIA GPU found; serve on another device")
    return found


def cuda_runtime() -> Any:
    """Return the module of CUDA's runtime.

    Raises:
        LibraryMissing: `cuda-python` is not installed.
    """
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise LibraryMissing(
            f"cuda-python cannot be imported ({error}); install Hepar's extra `tensorrt-rtx` or "
            "`tensorrt`"
        ) from error
    return runtime


def checked(runtime: Any, answer: tuple[Any, ...]) -> Any:
    """Return the values of a CUDA runtime call without its status.

    Raises:
        CudaFailed: the call failed.
    """
    status, *values = answer
    if status == runtime.cudaError_t.cudaSuccess:
        return values[0] if len(values) == 1 else values
    raise CudaFailed(
        f"{status.name}: {_words(runtime, status)}",
        out_of_memory=status == runtime.cudaError_t.cudaErrorMemoryAllocation,
    )


def is_lost(runtime: Any) -> bool:
    """Return whether this process has lost the GPU, for instance to an illegal address.

    Such an error is sticky: every later call fails until the process ends.
    """
    return bool(runtime.cudaDeviceSynchronize()[0] != runtime.cudaError_t.cudaSuccess)


class CudaFailed(Exception):
    """A CUDA call failed; the calling device translates it into a `DeviceFailed`."""

    def __init__(self, message: str, out_of_memory: bool) -> None:
        super().__init__(message)
        self.out_of_memory = out_of_memory


def _gpu(runtime: Any, index: int, driver: int) -> Gpu:
    found = checked(runtime, runtime.cudaGetDeviceProperties(index))
    name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
    return Gpu(
        index,
        # A C array of 256 bytes, filled up with zeros.
        name.rstrip("\0"),
        f"sm{found.major}{found.minor}",
        found.totalGlobalMem >> 20,
        _dotted(driver),
    )


def _driver(runtime: Any) -> str:
    version = int(runtime.cudaDriverGetVersion()[1] or 0)
    return f"its driver supports CUDA {_dotted(version)}" if version else "no driver is loaded"


def _words(runtime: Any, status: Any) -> str:
    text = runtime.cudaGetErrorString(status)[1]
    return text.decode() if isinstance(text, bytes) else str(text)


def _dotted(version: int) -> str:
    # CUDA writes 12.4 as 12040.
    return f"{version // 1000}.{version % 1000 // 10}"
