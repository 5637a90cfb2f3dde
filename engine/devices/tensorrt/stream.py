"""One CUDA stream with its buffers: copies and computing in order."""

import ctypes
import logging
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.devices.tensorrt.cuda import CudaFailed, checked
from engine.hounsfield import Hounsfield, to_float16

logger = logging.getLogger(__name__)

Array = NDArray[Any]
Shape = tuple[int, int, int]

LEAST = 256
"""Bytes; a context needs an address even where it needs no memory."""


class Stream:
    """Pinned host memory, device memory, and a stream that connects them.

    It always computes the number of slices that it was created for, ignoring the rest of a smaller
    batch, so its shape never changes and TensorRT prepares it once. `start` returns at once; `wait`
    returns the answer, which the next `start` overwrites.
    """

    def __init__(self, runtime: Any, shape: Shape, *, captures: bool) -> None:
        self.shape = shape
        self._runtime = runtime
        self._captures = captures
        self._graph: Any = None
        self._tensors: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
            "hu": (shape, np.float16),
            "spacing": ((2,), np.float32),
            "labels": (shape, np.uint8),
            "agreement": ((shape[0], 2, 2), np.float32),
        }
        self._here: dict[str, Array] = {}
        self._pinned: list[int] = []
        self._there: dict[str, int] = {}
        self._stream: Any = None
        self._context: Any = None
        self._count = 0

    def open(self, context: Any, largest: int) -> None:
        """Allocate stream and memory, and compute once; after a failure, call `close`.

        Args:
            context: TensorRT's execution context, without device memory of its own.
            largest: bytes of device memory that it needs for the largest slices.

        Raises:
            CudaFailed: not enough memory, or TensorRT does not start.
        """
        self._context = context
        # Non-blocking: it does not wait for what libraries do on the default stream.
        flags = self._runtime.cudaStreamNonBlocking
        self._stream = self._call(self._runtime.cudaStreamCreateWithFlags(flags))
        for name, (shape, kind) in self._tensors.items():
            self._take(name, shape, np.dtype(kind))
        self._lend(largest)
        if self._captures:
            self._capture()

    def start(self, hu: Hounsfield, spacing: NDArray[np.float32], neighbours: int = 0) -> None:
        """Queue slices; as many as the stream was created for, or fewer.

        Args:
            hu: (n, rows, columns) slices.
            spacing: millimetres between rows, between columns.
            neighbours: number of copies of the last slice that follow it as its neighbours.
        """
        self._count = len(hu)
        here = self._here["hu"]
        to_float16(hu, out=here[: len(hu)])  # straight into pinned memory
        here[len(hu) : len(hu) + neighbours] = here[len(hu) - 1]
        self._here["spacing"][:] = spacing
        self._copy_there("hu", "spacing")
        if self._graph is not None:
            self._call(self._runtime.cudaGraphLaunch(self._graph, self._stream))
        else:
            self._execute()
        self._copy_here("labels", "agreement")

    def wait(self) -> tuple[Array, Array]:
        """Wait for the last `start`; return labels and agreement."""
        self._call(self._runtime.cudaStreamSynchronize(self._stream))
        return self._here["labels"][: self._count], self._here["agreement"][: self._count]

    def close(self) -> None:
        """Free everything; a second call does nothing.

        Errors are ignored: after a fault, memory cannot be freed and is lost with the GPU.
        """
        runtime = self._runtime
        if self._stream is not None:
            runtime.cudaStreamSynchronize(self._stream)  # the context may still be running
        if self._graph is not None:
            runtime.cudaGraphExecDestroy(self._graph)
        # The context before its memory below: its destructor may still touch it.
        self._graph = self._context = None
        if self._stream is not None:
            runtime.cudaStreamDestroy(self._stream)
        # The arrays too: they would point into freed memory.
        self._stream, self._here = None, {}
        for there in self._there.values():
            runtime.cudaFree(there)
        for pinned in self._pinned:
            runtime.cudaFreeHost(pinned)
        self._there, self._pinned = {}, []

    def _take(self, name: str, shape: tuple[int, ...], kind: np.dtype[Any]) -> None:
        """Allocate a tensor on both sides and pass its address to the context."""
        size = prod(shape) * kind.itemsize
        self._there[name] = int(self._call(self._runtime.cudaMalloc(size)))
        pinned = int(self._call(self._runtime.cudaHostAlloc(size, 0)))
        self._pinned.append(pinned)
        # A view, so nothing frees the memory when the array goes: `close` has to.
        raw = (ctypes.c_uint8 * size).from_address(pinned)
        self._here[name] = np.frombuffer(memoryview(raw), kind).reshape(shape)
        # Not cleared by CUDA; a capture, or a first batch that is not full, computes on it.
        self._here[name][:] = 0
        if not self._context.set_tensor_address(name, self._there[name]):
            raise CudaFailed(f"TensorRT rejects the address of {name}", out_of_memory=False)

    def _lend(self, largest: int) -> None:
        """Give the context memory to compute in, if possible only as much as this shape needs.

        `set_device_memory` demands the size for the largest shape. Assigning `device_memory`, as
        the documentation of `update_device_memory_size_for_shapes` has it, does not.
        """
        if not self._context.set_input_shape("hu", self.shape):
            raise CudaFailed(f"TensorRT rejects {self.shape} slices", out_of_memory=False)
        # Only valid once the input's shape is set.
        size = max(int(self._context.update_device_memory_size_for_shapes()), LEAST)
        by_shape = hasattr(type(self._context), "device_memory")
        size = size if by_shape else max(size, largest)
        # Scratch memory between the layers; `close` frees it like a tensor's.
        self._there["between"] = int(self._call(self._runtime.cudaMalloc(size)))
        if by_shape:
            self._context.device_memory = self._there["between"]
        else:
            self._context.set_device_memory(self._there["between"], size)

    def _execute(self) -> None:
        if not self._context.execute_async_v3(int(self._stream)):
            raise CudaFailed("TensorRT did not start", out_of_memory=False)

    def _capture(self) -> None:
        """Record the context's work as a CUDA graph; do without if that fails.

        TensorRT does deferred work in the first execution of a shape, which cannot be captured.
        """
        runtime = self._runtime
        self._copy_there("hu", "spacing")
        self._execute()
        self._call(runtime.cudaStreamSynchronize(self._stream))
        # Thread-local: other threads may allocate meanwhile, for instance to open a plan.
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(runtime.cudaStreamBeginCapture(self._stream, mode))
        started = self._context.execute_async_v3(int(self._stream))
        status, graph = runtime.cudaStreamEndCapture(self._stream)
        good = runtime.cudaError_t.cudaSuccess
        if status == good:
            if started:
                status, self._graph = runtime.cudaGraphInstantiate(graph, 0)
            # The template; the instantiated graph does not need it any more.
            runtime.cudaGraphDestroy(graph)
        if status != good:
            self._graph = None
            runtime.cudaGetLastError()  # clear CUDA's sticky error
        if self._graph is None:
            logger.warning(
                "no CUDA graph for %s slices (%s); they are computed without one, more slowly",
                self.shape,
                "TensorRT did not start" if status == good else status.name,
                extra={"action": "no_cuda_graph"},
            )

    def _copy_there(self, *names: str) -> None:
        direction = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        for name in names:
            here, there = self._here[name], self._there[name]
            ends = there, here.ctypes.data, here.nbytes
            self._call(self._runtime.cudaMemcpyAsync(*ends, direction, self._stream))

    def _copy_here(self, *names: str) -> None:
        """Copy the answer for the slices that were sent, without the rest."""
        direction = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        for name in names:
            here, there = self._here[name], self._there[name]
            ends = here.ctypes.data, there, here[: self._count].nbytes
            self._call(self._runtime.cudaMemcpyAsync(*ends, direction, self._stream))

    def _call(self, answer: tuple[Any, ...]) -> Any:
        return checked(self._runtime, answer)
