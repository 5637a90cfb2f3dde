from types import SimpleNamespace

import pytest

from engine.devices import cuda
from engine.errors import LibraryMissing


class FakeRuntime:
    """As much of CUDA's runtime as looking for GPUs takes."""

    class cudaError_t:  # noqa: N801
        cudaSuccess, cudaErrorMemoryAllocation = 0, 2  # noqa: N815
        cudaErrorInsufficientDriver = SimpleNamespace(name="cudaErrorInsufficientDriver")  # noqa: N815
        cudaErrorNoDevice = SimpleNamespace(name="cudaErrorNoDevice")  # noqa: N815

    def __init__(self, status=0, driver=13000):
        self.status, self.driver = status, driver

    def cudaGetDeviceCount(self):  # noqa: N802
        return self.status, 1

    def cudaDriverGetVersion(self):  # noqa: N802
        return 0, self.driver

    def cudaGetErrorString(self, status):  # noqa: N802
        return 0, b"in CUDA's words"

    def cudaGetDeviceProperties(self, index):  # noqa: N802
        said = SimpleNamespace(name=b"Fast\0", major=12, minor=0, totalGlobalMem=8 << 30)
        return 0, said


def gpus_by(runtime, monkeypatch):
    monkeypatch.setattr(cuda, "cuda_runtime", lambda: runtime)
    return cuda.gpus()


def test_a_gpu_is_described(monkeypatch):
    (gpu,) = gpus_by(FakeRuntime(), monkeypatch)
    assert gpu == cuda.Gpu(0, "Fast", "sm120", 8192, "13.0")


@pytest.mark.parametrize(
    ("driver", "said"), [(11040, r"its driver knows CUDA 11\.4"), (0, "no driver is loaded")]
)
def test_a_driver_that_is_absent_or_too_old_is_told(monkeypatch, driver, said):
    status = FakeRuntime.cudaError_t.cudaErrorInsufficientDriver
    with pytest.raises(LibraryMissing, match=f"{said}.*install a newer driver"):
        gpus_by(FakeRuntime(status, driver), monkeypatch)


def test_no_gpu_is_told(monkeypatch):
    status = FakeRuntime.cudaError_t.cudaErrorNoDevice
    with pytest.raises(LibraryMissing, match="cudaErrorNoDevice: in CUDA's words"):
        gpus_by(FakeRuntime(status), monkeypatch)


@pytest.mark.gpu
def test_the_gpu_that_is_here_is_found():
    assert cuda.gpus()[0].architecture.startswith("sm")
