"""The processor as a device, by way of OpenVINO.

Measured with three U-Nets of 1 M parameters on 512x512 slices and two cores:

- Shapes fixed before compiling take 50-56 ms a slice and 240 MB, dynamic ones 60-66 ms and 340 MB.
  Compiling takes 0.3 s, so a graph is compiled anew whenever slices of another size come.
- Requests of 2 slices on single-threaded streams are as fast as all threads on one request, and
  twice as fast where another process wants the cores too: no thread waits for the slowest one.
  Requests of 4 slices gain nothing and cost 80 MB.
- Without the precision hint, processors that have bfloat16 use it unasked: 4.6 % of the labels of
  an untrained ensemble then differed from torch's, and none with the hint.
"""

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from engine.devices import Answer
from engine.errors import DeviceFailed
from engine.model import Model

REQUEST = 2
"""Slices that one inference request carries."""


def open_openvino(
    model: Model, *, threads: int | None = None, cache: Path | None = None
) -> "OpenVino":
    """Return the model on the processor.

    Args:
        model: whose graph to run.
        threads: how many to use; all of them if None.
        cache: where compiled graphs are kept between runs. OpenVINO names them by graph, shape,
            settings and its own version, so one that no longer fits is never taken.

    Raises:
        DeviceFailed: OpenVINO cannot read the graph.
    """
    return OpenVino(model.graph, settings(threads, cache))


def settings(threads: int | None, cache: Path | None) -> dict[str, Any]:
    """Return OpenVINO's properties for this work."""
    chosen: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
    if threads is not None:
        chosen["INFERENCE_NUM_THREADS"] = threads
    if cache is not None:
        chosen["CACHE_DIR"] = str(cache)
    return chosen


class OpenVino:
    """A graph on the processor, compiled for one slice size at a time."""

    name = "OpenVINO CPU"
    batch = 32

    def __init__(self, graph: Path, settings: dict[str, Any]) -> None:
        self._graph = graph
        self._settings = settings
        self._core = openvino.Core()
        self._lock = Lock()
        self._compiled: tuple[tuple[int, int], openvino.AsyncInferQueue] | None = None
        self._read()

    def run(self, hu: NDArray[np.float16], spacing_mm: tuple[float, float]) -> Answer:
        """Return the ensemble's answer to (n, rows, columns) slices."""
        answer = Answer(np.empty(hu.shape, np.uint8), np.empty((len(hu), 2, 2), np.float32))
        with self._lock:
            try:
                self._fill(answer, hu, np.array(spacing_mm, np.float32))
            except RuntimeError as error:
                self._compiled = None  # requests may still be on their way in this one
                raise DeviceFailed(
                    f"OpenVINO cannot run {self._graph.name} on {hu.shape} slices: {error}"
                ) from error
        return answer

    def _fill(self, answer: Answer, hu: NDArray[np.float16], spacing: NDArray[np.float32]) -> None:
        def keep(request: openvino.InferRequest, start: int) -> None:
            room = min(REQUEST, len(hu) - start)
            answer.labels[start : start + room] = request.get_tensor("labels").data[:room]
            answer.agreement[start : start + room] = request.get_tensor("agreement").data[:room]

        requests = self._requests_for((hu.shape[1], hu.shape[2]))
        requests.set_callback(keep)
        for start in range(0, len(hu), REQUEST):
            slices = _filled(hu[start : start + REQUEST])
            requests.start_async({"hu": slices, "spacing": spacing}, start)
        requests.wait_all()

    def _requests_for(self, size: tuple[int, int]) -> openvino.AsyncInferQueue:
        if self._compiled is None or self._compiled[0] != size:
            self._compiled = None  # two at once would need twice the memory
            graph = self._read()
            graph.reshape({"hu": [REQUEST, *size], "spacing": [2]})
            compiled = self._core.compile_model(graph, "CPU", self._settings)
            self._compiled = size, openvino.AsyncInferQueue(compiled)
        return self._compiled[1]

    def _read(self) -> openvino.Model:
        try:
            return self._core.read_model(self._graph)
        except RuntimeError as error:
            raise DeviceFailed(f"OpenVINO cannot read {self._graph}: {error}") from error


def _filled(slices: NDArray[np.float16]) -> NDArray[np.float16]:
    """Repeat the last slice until the request is full."""
    missing = REQUEST - len(slices)
    return np.concatenate([slices, slices[-1:].repeat(missing, axis=0)]) if missing else slices
