"""NVIDIA GPUs that are here, by way of `cuda-python`."""

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
    """The newest CUDA that its driver knows."""


def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use, at least one.

    Raises:
        LibraryMissing: there is none that could be used, or no driver or library for it; the
            message says which.
    """
    runtime = cuda_runtime()
    try:
        count = checked(runtime, runtime.cudaGetDeviceCount())
        driver = checked(runtime, runtime.cudaDriverGetVersion())
        found = tuple(_gpu(runtime, index, driver) for index in range(count))
    except CudaFailed as error:  # whatever it is: who looks for a GPU must be able to go on
        raise LibraryMissing(
            f"no NVIDIA GPU can be used here ({error}; {_driver(runtime)}): see what `nvidia-smi` "
            "says, install a newer driver, or serve on another device"
        ) from error
    if not found:
        raise LibraryMissing("no NVIDIA GPU here: serve on another device")
    return found


def cuda_runtime() -> Any:
    """Return CUDA's runtime as a module.

    Raises:
        LibraryMissing: `cuda-python` is not installed.
    """
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise LibraryMissing(
            f"no cuda-python here ({error}): install Hepar's extra `tensorrt-rtx` or `tensorrt`"
        ) from error
    return runtime


def checked(runtime: Any, answer: tuple[Any, ...]) -> Any:
    """Return what a call of CUDA's runtime answered beside its status.

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
    """Tell whether the GPU is out of this process's reach, as it is after a fault on it.

    Every call fails from then on, in this process, until it ends.
    """
    return bool(runtime.cudaDeviceSynchronize()[0] != runtime.cudaError_t.cudaSuccess)


class CudaFailed(Exception):
    """A call of CUDA failed; the device that made it says what that means."""

    def __init__(self, message: str, out_of_memory: bool) -> None:
        super().__init__(message)
        self.out_of_memory = out_of_memory


def _gpu(runtime: Any, index: int, driver: int) -> Gpu:
    said = checked(runtime, runtime.cudaGetDeviceProperties(index))
    name = said.name.decode() if isinstance(said.name, bytes) else str(said.name)
    return Gpu(
        index,
        name.rstrip("\0"),
        f"sm{said.major}{said.minor}",
        said.totalGlobalMem >> 20,
        _dotted(driver),
    )


def _driver(runtime: Any) -> str:
    version = int(runtime.cudaDriverGetVersion()[1] or 0)
    return f"its driver knows CUDA {_dotted(version)}" if version else "no driver is loaded"


def _words(runtime: Any, status: Any) -> str:
    said = runtime.cudaGetErrorString(status)[1]
    return said.decode() if isinstance(said, bytes) else str(said)


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
