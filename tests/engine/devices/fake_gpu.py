"""A GPU, its driver and its TensorRT, in plain memory: they compute the toy model.

What is sent to a stream is done when somebody waits for the stream, and not before; what is given
back while a stream still needs it is a fault. Enough to see that buffers, lanes, graphs and smaller
batches are in order; a real GPU is for `-m gpu`.
"""

import ctypes
import itertools
import threading
import weakref
from types import SimpleNamespace

import numpy as np

from engine.devices.tensorrt import builder, cuda, plan_device
from engine.devices.tensorrt.library import Library
from engine.plans.key import Flavour
from tests.engine.toy_model import toy_answer

SCRATCH = 16
"""Bytes that the fake's TensorRT needs between input and output, for each pixel."""


class Status(int):
    def __new__(cls, value, name):
        self = super().__new__(cls, value)
        self.name = name
        return self


class FakeCuda:
    """CUDA's runtime; `limit` is how many bytes it has, `broken` whether it faults."""

    class cudaError_t:  # noqa: N801
        cudaSuccess = Status(0, "cudaSuccess")  # noqa: N815
        cudaErrorMemoryAllocation = Status(2, "cudaErrorMemoryAllocation")  # noqa: N815
        cudaErrorInsufficientDriver = Status(35, "cudaErrorInsufficientDriver")  # noqa: N815
        cudaErrorNoDevice = Status(100, "cudaErrorNoDevice")  # noqa: N815
        cudaErrorIllegalAddress = Status(700, "cudaErrorIllegalAddress")  # noqa: N815
        cudaErrorStreamCaptureInvalidated = Status(901, "cudaErrorStreamCapture")  # noqa: N815

    cudaStreamNonBlocking = 1  # noqa: N815
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815

    def __init__(self, limit=1 << 30):
        self.limit, self.blocks, self.streams, self.pinned = limit, {}, {}, set()
        self.graphs, self.launched, self.capturable, self.broken = [], 0, True, False
        self.faults, self.used, self.count = [], [], 1
        self.last_error = self.good
        self.capture, self.numbers = threading.local(), itertools.count(7)
        FakeContext.gpu = self

    @property
    def done(self):
        return self.cudaError_t.cudaErrorIllegalAddress if self.broken else self.good

    good = cudaError_t.cudaSuccess

    def cudaSetDevice(self, index):  # noqa: N802
        self.used.append(index)
        return (self.good,)

    def cudaDeviceSynchronize(self):  # noqa: N802
        return (self.done,)

    def cudaGetLastError(self):  # noqa: N802
        last, self.last_error = self.last_error, self.good
        return (last,)

    def cudaStreamCreateWithFlags(self, flags):  # noqa: N802
        assert flags == self.cudaStreamNonBlocking
        stream = next(self.numbers)
        self.streams[stream] = []
        return self.good, stream

    def cudaStreamSynchronize(self, stream):  # noqa: N802
        if not self.broken:
            for work, _ in self.streams[stream]:
                work()
        self.streams[stream].clear()
        return (self.done,)

    def cudaStreamDestroy(self, stream):  # noqa: N802
        if self.streams[stream]:
            self.faults.append("a stream was destroyed with work in it")
        return (self.good,)

    def send(self, stream, work, *needed):
        """Let a stream do some work, once somebody waits for it, that needs what is named."""
        self.streams[stream].append((work, needed))
        return (self.done,)

    def waits_for(self, address):
        """Return whether work under way needs this memory."""
        return any(address in needed for work in list(self.streams.values()) for _, needed in work)

    @property
    def recorded(self):
        """Capture of this thread, if there is one."""
        return getattr(self.capture, "work", None)

    def cudaStreamBeginCapture(self, stream, mode):  # noqa: N802
        self.capture.work = []
        return (self.done,)

    def cudaStreamEndCapture(self, stream):  # noqa: N802
        recorded, self.capture.work = self.recorded, None
        if not self.capturable:
            self.last_error = self.cudaError_t.cudaErrorStreamCaptureInvalidated
            return self.last_error, None
        return self.done, recorded

    def cudaGraphInstantiate(self, graph, flags):  # noqa: N802
        self.graphs.append(graph)
        return self.done, graph

    def cudaGraphDestroy(self, graph):  # noqa: N802
        return (self.good,)

    def cudaGraphExecDestroy(self, graph):  # noqa: N802
        self.graphs.remove(graph)
        return (self.good,)

    def cudaGraphLaunch(self, graph, stream):  # noqa: N802
        self.launched += 1
        for work, needed in graph:
            self.send(stream, work, *needed)
        return (self.done,)

    def cudaGetDeviceCount(self):  # noqa: N802
        return self.good, self.count

    def cudaDriverGetVersion(self):  # noqa: N802
        return self.good, 13000

    def cudaGetDeviceProperties(self, index):  # noqa: N802
        said = SimpleNamespace(name=b"Fake", major=8, minor=9, totalGlobalMem=8 << 30)
        return self.good, said

    def cudaGetErrorString(self, status):  # noqa: N802
        return self.good, status.name.encode()

    def cudaMalloc(self, size):  # noqa: N802
        if self.broken:
            return self.done, None
        if size + self.taken > self.limit:
            return self.cudaError_t.cudaErrorMemoryAllocation, None
        block = ctypes.create_string_buffer(b"\xff" * size, size)  # no number, as half floats
        self.blocks[ctypes.addressof(block)] = block
        return self.good, ctypes.addressof(block)

    @property
    def taken(self):
        return sum(len(block) for at, block in self.blocks.items() if at not in self.pinned)

    def cudaMemGetInfo(self):  # noqa: N802
        return self.done, self.limit - self.taken, self.limit

    def cudaHostAlloc(self, size, flags):  # noqa: N802
        status, address = self.cudaMalloc(size)
        self.pinned.add(address)
        return status, address

    def cudaFree(self, address):  # noqa: N802
        if self.waits_for(address):
            self.faults.append("memory was given back with work under way")
        del self.blocks[address]
        self.pinned.discard(address)
        return (self.good,)

    cudaFreeHost = cudaFree  # noqa: N815

    def cudaMemcpyAsync(self, to, source, size, kind, stream):  # noqa: N802
        assert (source in self.pinned) == (kind == 1)
        assert (to in self.pinned) == (kind == 2)
        return self.send(stream, lambda: ctypes.memmove(to, source, size), to, source)


class FakeContext:
    """An execution context that waits for shape, addresses and memory to compute in."""

    gpu = None

    def __init__(self, strategy):
        assert strategy == "the caller's"
        self.addresses, self.shape, self.lent, self.executed = {}, None, None, False
        self.cache = None

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def set_input_shape(self, name, shape):
        self.shape, self.executed = tuple(shape), False
        return True

    def update_device_memory_size_for_shapes(self):
        return int(np.prod(self.shape)) * SCRATCH

    def lend(self, address):
        self.lent = address, len(self.gpu.blocks[address])

    device_memory = property(fset=lend)

    def set_device_memory(self, address, size):
        assert size >= FakeEngine.device_memory_size_v2
        self.lent = address, size

    def execute_async_v3(self, stream):
        gpu, (address, size) = self.gpu, self.lent
        if size < self.update_device_memory_size_for_shapes() or address not in self.gpu.blocks:
            return False
        captured, shape, me = self.gpu.recorded is not None, self.shape, weakref.ref(self)
        if captured and not self.executed:
            return False  # the first of a shape cannot be captured

        def work():
            if (context := me()) is None:
                gpu.faults.append("a context ended with work under way")
            else:
                assert shape == context.shape
                context.compute()

        if self.cache is not None and not self.executed:
            self.cache.compiled = (self.cache.compiled or b"kernels ") + b"x"
        needed = address, *self.addresses.values()
        (self.gpu.recorded if captured else self.gpu.streams[stream]).append((work, needed))
        self.executed = True
        return True

    def compute(self):
        count = self.shape[0]
        hu = self.at("hu", self.shape, np.float16)
        labels, agreement = toy_answer(hu, self.at("spacing", (2,), np.float32))
        self.at("labels", self.shape, np.uint8)[:] = labels
        self.at("agreement", (count, 2, 2), np.float32)[:] = agreement

    def at(self, name, shape, kind):
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        assert size <= len(self.gpu.blocks[self.addresses[name]])
        raw = (ctypes.c_uint8 * size).from_address(self.addresses[name])
        return np.frombuffer(raw, kind).reshape(shape)


class FakeEngine:
    device_memory_size_v2 = 4 * 512 * 512 * SCRATCH
    """For the largest slices of the tests' plans."""
    create_execution_context = staticmethod(FakeContext)


class FakeRuntime:
    def __init__(self, logger):
        self.logger = logger

    def deserialize_cuda_engine(self, content):
        if content.startswith((b"engine", b"vtrt")):
            return FakeEngine()
        self.logger.log(1, "magic tag does not match")
        return None


fake_tensorrt = SimpleNamespace(
    ILogger=object,
    Runtime=FakeRuntime,
    ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="the caller's"),
    __version__="1.7.1.116",
)


class FakeCache:
    """What TensorRT for RTX has compiled: a letter for each context that began to compute."""

    def __init__(self):
        self.compiled = b""

    def deserialize(self, content):
        if content.startswith(b"kernels "):
            self.compiled = content
        return bool(self.compiled)

    def serialize(self):
        return self.compiled


class FakeConfig:
    def __init__(self):
        self.strategy = self.cuda_graph_strategy = self.cache = None
        self.dynamic_shapes_kernel_specialization_strategy = "lazy"

    def set_execution_context_allocation_strategy(self, strategy):
        self.strategy = strategy

    def create_runtime_cache(self):
        return FakeCache()

    def set_runtime_cache(self, cache):
        self.cache = cache
        return True


class CompilingEngine(FakeEngine):
    """An engine of TensorRT for RTX, which makes graphs and kernels itself."""

    create_runtime_config = FakeConfig

    @staticmethod
    def create_execution_context(config):
        assert config.cuda_graph_strategy == "whole"
        assert config.dynamic_shapes_kernel_specialization_strategy == "eager"
        context = FakeContext(config.strategy)
        context.cache = config.cache
        return context


class CompilingRuntime(FakeRuntime):
    def deserialize_cuda_engine(self, content):
        return CompilingEngine()


fake_rtx = SimpleNamespace(
    **vars(fake_tensorrt)
    | {
        "Runtime": CompilingRuntime,
        "CudaGraphStrategy": SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole"),
        "DynamicShapesKernelSpecializationStrategy": SimpleNamespace(EAGER="eager"),
    }
)


def installed(patch):
    """Let TensorRT be found with this GPU, as long as `patch` lasts; returns its CUDA."""
    runtime = FakeCuda()
    library = Library(Flavour.RTX, fake_tensorrt.__version__, fake_tensorrt)
    for user in (cuda, plan_device, builder):
        patch.setattr(user, "cuda_runtime", lambda: runtime)
    patch.setattr(plan_device, "load_tensorrt", lambda flavour: library)
    patch.setattr(plan_device, "SMALLEST", 8)
    patch.setattr(plan_device, "_lost", {})
    return runtime
