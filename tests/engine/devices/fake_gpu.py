"""A GPU, its driver and its TensorRT, in plain memory: they compute the toy model.

Enough to see that buffers, lanes and smaller batches are in order; a real GPU is for `-m gpu`.
"""

import ctypes
from types import SimpleNamespace

import numpy as np

from tests.engine.toy import toy_answer


class Status(int):
    def __new__(cls, value, name):
        self = super().__new__(cls, value)
        self.name = name
        return self


class FakeCuda:
    """CUDA's runtime; `limit` is how many bytes it has."""

    class cudaError_t:  # noqa: N801
        cudaSuccess = Status(0, "cudaSuccess")  # noqa: N815
        cudaErrorMemoryAllocation = Status(2, "cudaErrorMemoryAllocation")  # noqa: N815
        cudaErrorInsufficientDriver = Status(35, "cudaErrorInsufficientDriver")  # noqa: N815
        cudaErrorNoDevice = Status(100, "cudaErrorNoDevice")  # noqa: N815

    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815

    def __init__(self, limit=1 << 30):
        self.limit, self.blocks = limit, {}
        self.graphs, self.launched, self.capturable = [], 0, True

    def __getattr__(self, name):
        if name in ("cudaSetDevice", "cudaStreamSynchronize", "cudaStreamDestroy"):
            return lambda *_: (self.cudaError_t.cudaSuccess,)
        raise AttributeError(name)

    def cudaStreamBeginCapture(self, stream, mode):  # noqa: N802
        FakeContext.recorded = []
        return (self.cudaError_t.cudaSuccess,)

    def cudaStreamEndCapture(self, stream):  # noqa: N802
        recorded, FakeContext.recorded = FakeContext.recorded, None
        if not self.capturable:
            return self.cudaError_t.cudaErrorMemoryAllocation, None
        self.graphs.append(recorded)
        return self.cudaError_t.cudaSuccess, recorded

    def cudaGraphInstantiate(self, graph, flags):  # noqa: N802
        return self.cudaError_t.cudaSuccess, graph

    def cudaGraphDestroy(self, graph):  # noqa: N802
        return (self.cudaError_t.cudaSuccess,)

    def cudaGraphExecDestroy(self, graph):  # noqa: N802
        self.graphs.remove(graph)
        return (self.cudaError_t.cudaSuccess,)

    def cudaGraphLaunch(self, graph, stream):  # noqa: N802
        self.launched += 1
        for context, shape in graph:
            assert context.shape == shape
            context.compute()
        return (self.cudaError_t.cudaSuccess,)

    def cudaGetDeviceCount(self):  # noqa: N802
        return self.cudaError_t.cudaSuccess, 1

    def cudaDriverGetVersion(self):  # noqa: N802
        return self.cudaError_t.cudaSuccess, 13000

    def cudaGetDeviceProperties(self, index):  # noqa: N802
        said = SimpleNamespace(name=b"Fake", major=8, minor=9, totalGlobalMem=8 << 30)
        return self.cudaError_t.cudaSuccess, said

    def cudaGetErrorString(self, status):  # noqa: N802
        return self.cudaError_t.cudaSuccess, b"out of memory"

    def cudaStreamCreate(self):  # noqa: N802
        return self.cudaError_t.cudaSuccess, 7

    def cudaMalloc(self, size):  # noqa: N802
        if size + sum(len(block) for block in self.blocks.values()) > self.limit:
            return self.cudaError_t.cudaErrorMemoryAllocation, None
        block = ctypes.create_string_buffer(size)
        self.blocks[ctypes.addressof(block)] = block
        return self.cudaError_t.cudaSuccess, ctypes.addressof(block)

    def cudaMemGetInfo(self):  # noqa: N802
        taken = sum(len(block) for block in self.blocks.values())
        return self.cudaError_t.cudaSuccess, self.limit - taken, self.limit

    def cudaHostAlloc(self, size, flags):  # noqa: N802
        return self.cudaMalloc(size)

    def cudaFree(self, address):  # noqa: N802
        del self.blocks[address]
        return (self.cudaError_t.cudaSuccess,)

    cudaFreeHost = cudaFree  # noqa: N815

    def cudaMemcpyAsync(self, to, source, size, kind, stream):  # noqa: N802
        ctypes.memmove(to, source, size)
        return (self.cudaError_t.cudaSuccess,)


class FakeContext:
    recorded = None
    """What is captured instead of being done, while something is."""

    def __init__(self):
        self.addresses, self.shape, self.spoil = {}, None, None

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def set_input_shape(self, name, shape):
        self.shape = tuple(shape)
        return True

    def execute_async_v3(self, stream):
        if FakeContext.recorded is None:
            self.compute()
        else:
            FakeContext.recorded.append((self, self.shape))
        return True

    def compute(self):
        count = self.shape[0]
        hu = self.at("hu", self.shape, np.float16)
        labels, agreement = toy_answer(hu, self.at("spacing", (2,), np.float32))
        self.at("labels", self.shape, np.uint8)[:] = labels
        self.at("agreement", (count, 2, 2), np.float32)[:] = agreement

    def at(self, name, shape, kind):
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        raw = (ctypes.c_uint8 * size).from_address(self.addresses[name])
        return np.frombuffer(raw, kind).reshape(shape)


class FakeRuntime:
    def __init__(self, logger):
        self.logger = logger

    def deserialize_cuda_engine(self, content):
        if content.startswith(b"engine"):
            return SimpleNamespace(create_execution_context=FakeContext)
        self.logger.log(1, "magic tag does not match")
        return None


fake_tensorrt = SimpleNamespace(ILogger=object, Runtime=FakeRuntime, __version__="1.7.1.116")
