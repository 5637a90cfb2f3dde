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
        LibraryMissing: there is none, or no driver or library for it; the message says which.
    """
    runtime = cuda_runtime()
    count = checked(runtime, runtime.cudaGetDeviceCount())
    if not count:
        raise LibraryMissing("no NVIDIA GPU here: serve on another device")
    driver = checked(runtime, runtime.cudaDriverGetVersion())
    return tuple(_gpu(runtime, index, driver) for index in range(count))


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
        LibraryMissing: the driver is absent or too old.
        CudaFailed: the call failed.
    """
    status, *values = answer
    if status == runtime.cudaError_t.cudaSuccess:
        return values[0] if len(values) == 1 else values
    said = f"{status.name}: {_words(runtime, status)}"
    if status in (
        runtime.cudaError_t.cudaErrorNoDevice,
        runtime.cudaError_t.cudaErrorInsufficientDriver,
    ):
        version = int(runtime.cudaDriverGetVersion()[1])
        driver = f"its driver knows CUDA {_dotted(version)}" if version else "no driver is loaded"
        raise LibraryMissing(
            f"no NVIDIA GPU can be used here ({said}; {driver}): install a newer driver, or serve "
            "on another device"
        )
    raise CudaFailed(said, int(status) == int(runtime.cudaError_t.cudaErrorMemoryAllocation))


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


def _words(runtime: Any, status: Any) -> str:
    said = runtime.cudaGetErrorString(status)[1]
    return said.decode() if isinstance(said, bytes) else str(said)


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
