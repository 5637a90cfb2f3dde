from types import SimpleNamespace

import pytest

from engine.devices.tensorrt import cuda
from engine.errors import LibraryMissing


class FakeRuntime:
    """As much of CUDA's runtime as looking for GPUs takes."""

    class cudaError_t:  # noqa: N801
        cudaSuccess, cudaErrorMemoryAllocation = 0, 2  # noqa: N815
        cudaErrorInsufficientDriver = SimpleNamespace(name="cudaErrorInsufficientDriver")  # noqa: N815
        cudaErrorNoDevice = SimpleNamespace(name="cudaErrorNoDevice")  # noqa: N815
        cudaErrorUnknown = SimpleNamespace(name="cudaErrorUnknown")  # noqa: N815

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
    ("driver", "said"), [(11040, r"its driver supports CUDA 11\.4"), (0, "no driver is loaded")]
)
def test_a_driver_that_is_absent_or_too_old_is_told(monkeypatch, driver, said):
    status = FakeRuntime.cudaError_t.cudaErrorInsufficientDriver
    with pytest.raises(LibraryMissing, match=f"{said}.*install a newer driver"):
        gpus_by(FakeRuntime(status, driver), monkeypatch)


def test_no_gpu_is_told(monkeypatch):
    status = FakeRuntime.cudaError_t.cudaErrorNoDevice
    with pytest.raises(LibraryMissing, match="cudaErrorNoDevice: in CUDA's words"):
        gpus_by(FakeRuntime(status), monkeypatch)


def test_a_gpu_that_cannot_be_asked_is_none_and_no_other_error(monkeypatch):
    status = FakeRuntime.cudaError_t.cudaErrorUnknown
    with pytest.raises(LibraryMissing, match=r"cudaErrorUnknown: .*nvidia-smi"):
        gpus_by(FakeRuntime(status), monkeypatch)


def test_cudas_own_runtime_has_all_that_is_called():
    """Whoever has the library but no driver is told so, by every call and in the form it has."""
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="comes with `tensorrt-rtx`")
    if not runtime.cudaGetDeviceCount()[0]:
        pytest.skip("there is a GPU: the tests with the marker `gpu` call all of it")
    stream, graph, made = (
        runtime.cudaStream_t(0),
        runtime.cudaGraph_t(0),
        runtime.cudaGraphExec_t(0),
    )
    mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    there = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
    here = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
    calls = {
        (runtime.cudaSetDevice, (0,)): 0,
        (runtime.cudaDeviceSynchronize, ()): 0,
        (runtime.cudaGetDeviceProperties, (0,)): 1,
        (runtime.cudaMemGetInfo, ()): 2,
        (runtime.cudaStreamCreateWithFlags, (runtime.cudaStreamNonBlocking,)): 1,
        (runtime.cudaStreamSynchronize, (stream,)): 0,
        (runtime.cudaStreamDestroy, (stream,)): 0,
        (runtime.cudaStreamBeginCapture, (stream, mode)): 0,
        (runtime.cudaStreamEndCapture, (stream,)): 1,
        (runtime.cudaGraphInstantiate, (graph, 0)): 1,
        (runtime.cudaGraphLaunch, (made, stream)): 0,
        (runtime.cudaGraphDestroy, (graph,)): 0,
        (runtime.cudaGraphExecDestroy, (made,)): 0,
        (runtime.cudaMalloc, (8,)): 1,
        (runtime.cudaHostAlloc, (8, 0)): 1,
        (runtime.cudaFree, (0,)): 0,
        (runtime.cudaFreeHost, (0,)): 0,
        (runtime.cudaMemcpyAsync, (8, 8, 8, there, stream)): 0,
        (runtime.cudaMemcpyAsync, (8, 8, 8, here, stream)): 0,
    }
    for (call, arguments), answers in calls.items():
        status, *found = call(*arguments)
        assert (status, len(found)) == (runtime.cudaError_t.cudaErrorInsufficientDriver, answers)
        with pytest.raises(cuda.CudaFailed, match="cudaErrorInsufficientDriver: CUDA driver"):
            cuda.checked(runtime, (status, *found))
    assert runtime.cudaGetLastError()
    assert cuda.is_lost(runtime)
    assert int(stream) == 0


@pytest.mark.gpu
def test_the_gpu_that_is_here_is_found():
    pytest.importorskip("cuda.bindings.runtime", reason="comes with `tensorrt-rtx`")
    assert cuda.gpus()[0].architecture.startswith("sm")
