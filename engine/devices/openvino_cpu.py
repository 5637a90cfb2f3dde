"""OpenVINO on the processor.

Measured with three U-Nets of 1 M parameters on 512x512 slices and two cores:

- Shapes fixed before compiling take 50-56 ms a slice and 240 MB, dynamic ones 60-66 ms and 340 MB.
  Compiling takes 0.3 s, so the graph is recompiled whenever the slice size changes.
- Requests on single-threaded streams are as fast as all threads on one request, and twice as fast
  where another process competes for the cores: no thread waits for the slowest one.

With the default model such streams are 1.7 times as fast as all threads on one request. Requests of
one slice take 0.96 of the processor's time of those of 2, and 0.90 of those of 4. Members in
bfloat16, where the processor has it, take 0.65 of the processor's time for the whole graph.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from engine.device import Answer
from engine.devices.openvino_split import Cut, find_cut
from engine.errors import DeviceFailed, DeviceOutOfMemory
from engine.hounsfield import Hounsfield, to_float16
from engine.model import Model

TOGETHER = 4
"""Slices per request if members use neighbours: the neighbours are computed in addition."""

Spacing = NDArray[np.float32]


def open_openvino(
    model: Model, *, threads: int | None = None, cache: Path | None = None, half: bool = False
) -> "OpenVino":
    """Open the model in OpenVINO.

    Args:
        model: to run.
        threads: processor threads; all if None.
        cache: folder for compiled graphs. OpenVINO names them by graph, shape, settings and its
            own version, so an outdated one is never used.
        half: run the members in bfloat16.

    Raises:
        DeviceFailed: OpenVINO cannot read the graph, or `half` is not possible: the processor
            lacks bfloat16, or the graph has no members.
    """
    chosen = settings(threads, cache)
    device = OpenVino(model.graph, chosen, half=half, neighbours=model.neighbours)
    device.liver_hu = model.liver_hu
    return device


def settings(threads: int | None, cache: Path | None) -> dict[str, Any]:
    """Return OpenVINO's properties.

    Without the precision hint, OpenVINO uses bfloat16 by default where the processor has it: 4.6 %
    of the labels of an untrained ensemble then differed from torch's, and none with the hint.
    """
    chosen: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "THROUGHPUT",
        # Pinning would put the three parts of a split graph on the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    if threads is not None:
        chosen["INFERENCE_NUM_THREADS"] = threads
    if cache is not None:
        chosen["CACHE_DIR"] = str(cache)
    return chosen


class OpenVino:
    """A graph on the processor, compiled for one slice size at a time.

    `_compiled` and the requests are shared, so calls are serialised by a lock.
    """

    name = "OpenVINO CPU"
    batch = 32
    liver_hu: float | None = None

    def __init__(
        self, graph: Path, settings: dict[str, Any], *, half: bool = False, neighbours: int = 0
    ) -> None:
        self.neighbours = neighbours
        self._together = TOGETHER if neighbours else 1
        self._graph = graph
        self._settings = settings
        self._half = half
        self._core = openvino.Core()
        self._lock = Lock()
        self._compiled: tuple[tuple[int, int], list[_Chain]] | None = None
        # Kept apart from `_compiled`: the members work on their own grid, whatever the slice size.
        self._kept: tuple[Cut, list[openvino.CompiledModel]] | None = None
        self._read = self._read_graph()
        if half:
            self.name = f"{OpenVino.name} bfloat16"
            self._require_half()

    def run(self, hu: Hounsfield, spacing_mm: tuple[float, float]) -> Answer:
        """Return the ensemble's answer to (n, rows, columns) slices."""
        answer = Answer(np.empty(hu.shape, np.uint8), np.empty((len(hu), 2, 2), np.float32))
        with self._lock:
            try:
                self._fill(answer, hu, np.array(spacing_mm, np.float32))
            except (RuntimeError, MemoryError) as error:
                # Compiled anew by the next call, whatever state the failure left the requests in.
                self._compiled = self._kept = None
                # C++ without memory is Python's MemoryError.
                kind = DeviceOutOfMemory if isinstance(error, MemoryError) else DeviceFailed
                reason = str(error) or "out of memory"
                raise kind(
                    f"{self.name} cannot run {self._graph.name} on {hu.shape} slices: {reason}"
                ) from error
        return answer

    def _fill(self, answer: Answer, hu: Hounsfield, spacing: Spacing) -> None:
        """Distribute the slices over the chains; each takes the next ones when it is free."""
        chains = self._chains_for((hu.shape[1], hu.shape[2]))
        idle: SimpleQueue[_Chain] = SimpleQueue()
        for chain in chains:
            idle.put(chain)

        def some(start: int) -> None:
            chain, here = idle.get(), slice(start, min(start + self._together, len(hu)))
            own = slice(self.neighbours, self.neighbours + here.stop - here.start)
            try:
                labels, agreement = chain.run(self._input(hu, start), spacing)
                # Copied before the chain is put back: its next run overwrites these views.
                answer.labels[here], answer.agreement[here] = labels[own], agreement[own]
            finally:
                idle.put(chain)

        with ThreadPoolExecutor(len(chains)) as pool:
            # `list` waits for all of them, and raises what a thread raised.
            list(pool.map(some, range(0, len(hu), self._together)))

    def _input(self, hu: Hounsfield, start: int) -> NDArray[np.float16]:
        """Return the slices of a request with their neighbours; the ends are repeated.

        They are converted here, in the thread of the chain, where the caches of its core hold them
        for the request. OpenVINO reads the array in place, so it must be contiguous.
        """
        stop = start + self._together
        if not self.neighbours:
            return np.ascontiguousarray(to_float16(hu[start:stop]))
        wanted = np.arange(start - self.neighbours, stop + self.neighbours)
        return to_float16(hu[np.clip(wanted, 0, len(hu) - 1)])

    def _chains_for(self, size: tuple[int, int]) -> list["_Chain"]:
        if self._compiled is None or self._compiled[0] != size:
            self._compiled = None  # frees the memory before compiling again
            self._compiled = size, self._compile(size)
        return self._compiled[1]

    def _compile(self, size: tuple[int, int]) -> list["_Chain"]:
        # In float32 nothing has to be kept apart, so the graph stays whole.
        if not self._half:
            whole = self._core.compile_model(self._of(size), "CPU", self._settings)
            return [_Chain.of(whole) for _ in range(_streams(whole))]
        cut, members = self._members(size)
        # As many streams in each part as the members have, or chains would wait for one another
        # there.
        streams = min(_streams(each) for each in members)
        alike = self._settings | {"NUM_STREAMS": streams}
        around = [
            self._core.compile_model(cut.around(self._of(size), stage), "CPU", alike)
            for stage in range(len(members) + 1)
        ]
        return [_Chain.split(members, around) for _ in range(streams)]

    def _members(self, size: tuple[int, int]) -> tuple[Cut, list[openvino.CompiledModel]]:
        """Return the cut and the compiled members of each stage.

        Their shapes do not depend on the slices'.
        """
        if self._kept is None:
            cut = find_cut(self._of(size))
            if cut is None:
                raise DeviceFailed(f"{self._graph} has no members that could run in bfloat16")
            hinted = self._settings | self._hint()
            compiled = [
                self._core.compile_model(cut.members(self._of(size), stage), "CPU", hinted)
                for stage in range(len(cut.stages))
            ]
            self._kept = cut, compiled
        return self._kept

    def _hint(self) -> dict[str, Any]:
        return {"INFERENCE_PRECISION_HINT": "bf16"} if self._half else {}

    def _require_half(self) -> None:
        able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        # The precision is a hint only: OpenVINO may compute in another one.
        if "BF16" not in able:
            raise DeviceFailed(f"this processor supports {', '.join(able)}, not bfloat16")

    def _read_graph(self) -> openvino.Model:
        try:
            return self._core.read_model(self._graph)
        except RuntimeError as error:
            raise DeviceFailed(f"OpenVINO cannot read {self._graph}: {error}") from error

    def _of(self, size: tuple[int, int]) -> openvino.Model:
        """Return a copy of the graph, reshaped; copying takes a tenth of the time of reading."""
        graph = self._read.clone()
        shown = self._together + 2 * self.neighbours
        graph.reshape({"hu": [shown, *size], "spacing": [2]})
        return graph


def _streams(compiled: openvino.CompiledModel) -> int:
    return int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))


class _Chain:
    """Infer requests for the parts of a graph, run one after the other."""

    def __init__(
        self, requests: list[openvino.InferRequest], shown: list[openvino.InferRequest]
    ) -> None:
        """Take requests in their order, and those of them that are shown slices and spacing."""
        self._requests = requests
        self._shown = shown

    @classmethod
    def of(cls, whole: openvino.CompiledModel) -> "_Chain":
        """Return a chain for a graph that is not split."""
        request = whole.create_infer_request()
        return cls([request], [request])

    @classmethod
    def split(
        cls, members: list[openvino.CompiledModel], around: list[openvino.CompiledModel]
    ) -> "_Chain":
        """Return a chain for the members of each stage and the parts around them.

        Tensors are shared, not copied.
        """
        first, *rest = [each.create_infer_request() for each in around]
        requests, found = [first], []
        for compiled, after in zip(members, rest, strict=True):
            request = compiled.create_infer_request()
            request.set_input_tensor(0, requests[-1].get_output_tensor(0))
            found += [request.get_output_tensor(index) for index in range(len(compiled.outputs))]
            for index, tensor in enumerate(found):
                # 0 and 1 are slices and spacing; the order of the rest is that of `Cut.around`.
                after.set_input_tensor(2 + index, tensor)
            requests += [request, after]
        return cls(requests, [first, *rest])

    def run(
        self, hu: Hounsfield, spacing: Spacing
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return labels and agreement; both are views that the next call overwrites."""
        for each in self._shown:
            # Without a copy: both arrays live until `infer` has returned.
            each.set_input_tensor(0, openvino.Tensor(hu, shared_memory=True))
            each.set_input_tensor(1, openvino.Tensor(spacing, shared_memory=True))
        for each in self._requests:
            each.infer(share_outputs=True)
        last = self._requests[-1]
        return last.get_output_tensor(0).data, last.get_output_tensor(1).data
