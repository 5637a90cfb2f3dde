"""One stream of work on a GPU: buffers on both sides, copies and computing in order."""

import ctypes
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.devices.tensorrt.cuda import CudaFailed, checked
from engine.hounsfield import Hounsfield, to_float16

Array = NDArray[Any]
Shape = tuple[int, int, int]

LEAST = 256
"""Bytes: a graph that needs no memory to compute in is given this much all the same."""


class Stream:
    """Pinned memory here, memory there, and a stream that carries slices from one to the other.

    It always computes as many slices as it was made for: of fewer, nobody looks at the rest. So
    its shape never changes, and TensorRT prepares it once. `start` returns at once; `wait` gives
    the answer, which lasts until the next `start`.
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

    def open(self, context: Any) -> None:
        """Take stream and memory, and compute once; what a failure leaves is for `close`.

        Args:
            context: of TensorRT's, which has no memory of its own to compute in.

        Raises:
            CudaFailed: there is not enough memory, or TensorRT does not start.
        """
        self._context = context
        # One that does not wait for what libraries do on the default stream.
        flags = self._runtime.cudaStreamNonBlocking
        self._stream = self._call(self._runtime.cudaStreamCreateWithFlags(flags))
        for name, (shape, kind) in self._tensors.items():
            self._take(name, shape, np.dtype(kind))
        self._lend()
        if self._captures:
            self._capture()

    def start(self, hu: Hounsfield, spacing: NDArray[np.float32], neighbours: int = 0) -> None:
        """Send slices off; as many as the lane was made for, or fewer.

        Args:
            hu: slices.
            spacing: between their rows, between their columns.
            neighbours: how often the last one is repeated, which is its own neighbour.
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
        """Return labels and agreement of what was started last."""
        self._call(self._runtime.cudaStreamSynchronize(self._stream))
        return self._here["labels"][: self._count], self._here["agreement"][: self._count]

    def close(self) -> None:
        """Give everything back; a second call does nothing.

        What cannot be given back after a failure is lost with it, and is no further error.
        """
        runtime = self._runtime
        if self._stream is not None:
            runtime.cudaStreamSynchronize(self._stream)  # the context may still be at work
        if self._graph is not None:
            runtime.cudaGraphExecDestroy(self._graph)
        self._graph = self._context = None
        if self._stream is not None:
            runtime.cudaStreamDestroy(self._stream)
        self._stream, self._here = None, {}
        for there in self._there.values():
            runtime.cudaFree(there)
        for pinned in self._pinned:
            runtime.cudaFreeHost(pinned)
        self._there, self._pinned = {}, []

    def _take(self, name: str, shape: tuple[int, ...], kind: np.dtype[Any]) -> None:
        """Take a tensor's memory on both sides, and tell the context."""
        size = prod(shape) * kind.itemsize
        self._there[name] = int(self._call(self._runtime.cudaMalloc(size)))
        pinned = int(self._call(self._runtime.cudaHostAlloc(size, 0)))
        self._pinned.append(pinned)
        raw = (ctypes.c_uint8 * size).from_address(pinned)
        self._here[name] = np.frombuffer(memoryview(raw), kind).reshape(shape)
        self._here[name][:] = 0
        if not self._context.set_tensor_address(name, self._there[name]):
            raise CudaFailed(f"TensorRT does not take {name}", out_of_memory=False)

    def _lend(self) -> None:
        """Give the context memory to compute in: as much as this shape takes, not as the largest
        would, so that fewer slices do take less."""
        if not self._context.set_input_shape("hu", self.shape):
            raise CudaFailed(f"TensorRT does not take {self.shape} slices", out_of_memory=False)
        size = max(int(self._context.update_device_memory_size_for_shapes()), LEAST)
        self._there["between"] = int(self._call(self._runtime.cudaMalloc(size)))
        self._context.set_device_memory(self._there["between"], size)

    def _execute(self) -> None:
        if not self._context.execute_async_v3(int(self._stream)):
            raise CudaFailed("TensorRT did not start", out_of_memory=False)

    def _capture(self) -> None:
        """Record what the context does as a CUDA graph; do without where it cannot be.

        TensorRT does what it puts off with the first execution of a shape, so that one comes first.
        """
        runtime = self._runtime
        self._copy_there("hu", "spacing")
        self._execute()
        self._call(runtime.cudaStreamSynchronize(self._stream))
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(runtime.cudaStreamBeginCapture(self._stream, mode))
        started = self._context.execute_async_v3(int(self._stream))
        status, graph = runtime.cudaStreamEndCapture(self._stream)
        good = runtime.cudaError_t.cudaSuccess
        if status == good:
            if started:
                status, self._graph = runtime.cudaGraphInstantiate(graph, 0)
            runtime.cudaGraphDestroy(graph)
        if status != good:
            self._graph = None
            runtime.cudaGetLastError()  # or the next who asks takes it for his own

    def _copy_there(self, *names: str) -> None:
        direction = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        for name in names:
            here, there = self._here[name], self._there[name]
            ends = there, here.ctypes.data, here.nbytes
            self._call(self._runtime.cudaMemcpyAsync(*ends, direction, self._stream))

    def _copy_here(self, *names: str) -> None:
        """Bring back the answer to the slices that were sent, without the rest."""
        direction = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        for name in names:
            here, there = self._here[name], self._there[name]
            ends = here.ctypes.data, there, here[: self._count].nbytes
            self._call(self._runtime.cudaMemcpyAsync(*ends, direction, self._stream))

    def _call(self, answer: tuple[Any, ...]) -> Any:
        return checked(self._runtime, answer)
