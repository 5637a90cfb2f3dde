"""One stream of work on a GPU: buffers on both sides, copies and computing in order."""

import ctypes
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.devices.cuda import CudaFailed, checked

Array = NDArray[Any]


class Lane:
    """Pinned memory here, memory there, and a stream that carries slices from one to the other.

    `start` returns at once; `wait` gives the answer, which lasts until the next `start`. Where
    `captures`, as many slices as the last time, and the time before, are computed by a CUDA graph.
    """

    def __init__(self, runtime: Any, shape: tuple[int, int, int], *, captures: bool) -> None:
        self.size = shape[1], shape[2]
        self._runtime = runtime
        self._captures = captures
        self._graph: Any = None
        self._shapes: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
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
        """Take stream and memory; what a failure leaves is for `close`.

        Raises:
            CudaFailed: there is not enough memory.
        """
        self._context = context
        self._stream = self._call(self._runtime.cudaStreamCreate())
        for name, (shape, kind) in self._shapes.items():
            size = prod(shape) * np.dtype(kind).itemsize
            self._there[name] = int(self._call(self._runtime.cudaMalloc(size)))
            pinned = int(self._call(self._runtime.cudaHostAlloc(size, 0)))
            self._pinned.append(pinned)
            raw = (ctypes.c_uint8 * size).from_address(pinned)
            self._here[name] = np.frombuffer(memoryview(raw), kind).reshape(shape)
            if not context.set_tensor_address(name, self._there[name]):
                raise CudaFailed(f"TensorRT does not take {name}", out_of_memory=False)

    def start(self, hu: NDArray[np.float16], spacing: NDArray[np.float32]) -> None:
        """Send slices off; as many as the lane was made for, or fewer."""
        again = self._count == len(hu)
        self._count = len(hu)
        self._here["hu"][: len(hu)] = hu
        self._here["spacing"][:] = spacing
        self._copy("hu", "spacing", kind="cudaMemcpyHostToDevice")
        if not again:
            self._forget_graph()
        if again and self._captures and self._graph is None:
            self._capture()
        if self._graph is not None:
            self._call(self._runtime.cudaGraphLaunch(self._graph, self._stream))
        else:
            self._execute(hu.shape)
        self._copy("labels", "agreement", kind="cudaMemcpyDeviceToHost")

    def _execute(self, shape: tuple[int, ...]) -> None:
        if not (
            self._context.set_input_shape("hu", shape)
            and self._context.execute_async_v3(int(self._stream))
        ):
            raise CudaFailed("TensorRT did not start", out_of_memory=False)

    def _capture(self) -> None:
        """Record what the context does for the shape that it has; do without if it cannot be.

        TensorRT does what it puts off with the first execution of a shape, so that one counts.
        """
        runtime = self._runtime
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(runtime.cudaStreamBeginCapture(self._stream, mode))
        started = self._context.execute_async_v3(int(self._stream))
        status, graph = runtime.cudaStreamEndCapture(self._stream)
        if not started or status != runtime.cudaError_t.cudaSuccess:
            self._captures = False
            return
        self._graph = self._call(runtime.cudaGraphInstantiate(graph, 0))
        self._call(runtime.cudaGraphDestroy(graph))

    def _forget_graph(self) -> None:
        if self._graph is not None:
            self._runtime.cudaGraphExecDestroy(self._graph)
            self._graph = None

    def wait(self) -> tuple[Array, Array]:
        """Return labels and agreement of what was started last."""
        self._call(self._runtime.cudaStreamSynchronize(self._stream))
        return self._here["labels"][: self._count], self._here["agreement"][: self._count]

    def close(self) -> None:
        """Give everything back; a second call does nothing.

        What cannot be given back after a failure is lost with it, and is no further error.
        """
        self._context = None
        self._here = {}
        if self._stream is not None:
            self._runtime.cudaStreamSynchronize(self._stream)
            self._forget_graph()
            self._runtime.cudaStreamDestroy(self._stream)
            self._stream = None
        for there in self._there.values():
            self._runtime.cudaFree(there)
        for pinned in self._pinned:
            self._runtime.cudaFreeHost(pinned)
        self._there, self._pinned = {}, []

    def _copy(self, *names: str, kind: str) -> None:
        direction = getattr(self._runtime.cudaMemcpyKind, kind)
        for name in names:
            here, there = self._here[name].ctypes.data, self._there[name]
            whole = self._here[name].nbytes
            size = whole if name == "spacing" else whole // len(self._here[name]) * self._count
            ends = (there, here) if kind == "cudaMemcpyHostToDevice" else (here, there)
            self._call(self._runtime.cudaMemcpyAsync(*ends, size, direction, self._stream))

    def _call(self, answer: tuple[Any, ...]) -> Any:
        return checked(self._runtime, answer)
