"""torch as a device: any accelerator that it supports, or the processor.

It runs `ensemble.pt2`, a `torch.export` program of the model's graph. Measured on two cores:
channels-last weights take 0.8 of the time, half precision by autocast takes half. Half precision is
checked against the reference like every device.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from enum import StrEnum
from pathlib import Path
from threading import Lock
from time import monotonic, perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export.passes import move_to_device_pass

from engine.acceptance.gate import check_device
from engine.acceptance.reference import check_reference
from engine.device import Answer, Device
from engine.devices.batch_size import MEASURED, chosen, halved
from engine.devices.multi_gpu import MultiGpu
from engine.devices.torch_program import read_program
from engine.errors import DeviceFailed, DeviceOutOfMemory, LibraryMissing
from engine.hounsfield import HU_BOUNDS, Hounsfield, to_float16
from engine.model import Model
from engine.slabs import cut

logger = logging.getLogger(__name__)

BATCH = 64
"""Slices per call; on a GPU they are split into parts of `Torch.room`."""
ROOM = {"cpu": 4}
"""Slices computed at once on the processor: more do not fit its caches."""
ROOM_ON_GPU = 8
"""The same on an accelerator, unless `ROOMS` are measured."""
ROOMS = MEASURED
"""Numbers of slices at once of which one is chosen by measurement on a GPU."""
GRAPHS = 2
"""Slice sizes that a CUDA graph is kept for: two jobs that take turns may differ."""
USUAL = 512, 512
"""Rows and columns that are measured and captured before the device serves."""
GROW_AFTER_S = 60.0
"""After running out of memory, fewer slices are computed at once for this long."""
CONVOLUTIONS = {torch.ops.aten.conv2d.default, torch.ops.aten.conv_transpose2d.input}

Run = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps slices and spacing to labels and agreement."""


class TorchPrecision(StrEnum):
    """Number format of the operations that autocast covers; resampling is always float32."""

    # Fastest first: `open_nearest` takes the first that passes the gate.
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


def open_accelerator(model: Model) -> Device:
    """Return the model on torch's accelerator, or on all of them together.

    Each uses the fastest precision that passes the gate. On a GPU, the number of slices at once is
    chosen by measurement, which also captures the usual slice size.

    Raises:
        LibraryMissing: torch has no accelerator here.
        DeviceFailed: the model has no `ensemble.pt2`, or no precision passes the gate.
    """
    place = torch.accelerator.current_accelerator(check_available=True)
    if place is None:
        raise LibraryMissing("torch has no accelerator here; OpenVINO is faster on a processor")
    first = open_nearest(model, place.type)
    if place.type != "cuda":
        return first
    choose_room(first, ROOMS)
    return _with_others(model, first, torch.cuda.device_count())


def _with_others(model: Model, first: "Torch", count: int) -> Device:
    """Return the device joined with the other GPUs; one that cannot serve is left out."""
    devices: list[Device] = [first]
    for index in range(1, count):
        try:
            other = open_torch(model, place=f"cuda:{index}", precision=first.precision)
            # Not measured again: the GPUs of one machine are taken to be alike.
            other.room = other.usual_room = first.room
            check_reference(model, other)
            other.run(np.zeros((1, *USUAL), np.int16), (0.8, 0.8))  # captures its graph
        except DeviceFailed as error:
            logger.warning("without GPU %d: %s", index, error, extra={"action": "skip_gpu"})
        else:
            devices.append(other)
    return first if len(devices) == 1 else MultiGpu(devices)


def choose_room(device: "Torch", rooms: Sequence[int]) -> None:
    """Set the number of slices at once to the fastest of these, as measured on the device."""
    seconds: dict[int, float] = {}
    # The same slices for each, so that the times compare; dense layers take as long on zeros.
    hu = np.zeros((max(rooms), *USUAL), np.int16)
    for room in rooms:
        device.room = device.usual_room = max(room, device.least)
        with suppress(DeviceFailed):  # no memory for so many; larger ones will not fit either
            device.run(hu, (0.8, 0.8))  # captures the graph, which is not to be measured
            if device.room < room:
                break
            # The faster of two, because other programs can only slow a run down.
            seconds[device.room] = min(_seconds(device, hu) for _ in range(2))
    if seconds:
        device.room = device.usual_room = chosen(seconds, device.name)
        device.free_graphs()  # of sizes that are not used
        device.run(hu[: device.room], (0.8, 0.8))  # captures it again


def _seconds(device: "Torch", hu: NDArray[np.int16]) -> float:
    begun = perf_counter()
    device.run(hu, (0.8, 0.8))
    return perf_counter() - begun


def open_nearest(model: Model, place: str) -> "Torch":
    """Return the model in the fastest precision that passes the gate.

    Raises:
        DeviceFailed: none passes, or the model has no `ensemble.pt2`.
    """
    faults = []
    for precision in TorchPrecision:
        device = open_torch(model, place=place, precision=precision)
        check = check_device(model, device, (1, device.room))
        if check.passed:
            return device
        faults.append(f"{device.name}: {'; '.join(check.faults)}")
    raise DeviceFailed(f"torch passes the gate in no precision ({'; '.join(faults)})")


def open_torch(
    model: Model,
    *,
    place: str = "cpu",
    precision: TorchPrecision = TorchPrecision.FLOAT32,
    threads: int | None = None,
) -> "Torch":
    """Return the model on one of torch's devices, not yet checked against the reference.

    Args:
        model: with an `ensemble.pt2`.
        place: torch's name of the device, such as "cuda", "xpu", "mps" or "cpu".
        precision: of the convolutions.
        threads: processor threads; all if None.

    Raises:
        DeviceFailed: the model has no `ensemble.pt2`, or torch cannot read or place it.
    """
    if model.program is None:
        raise DeviceFailed(
            f"model {model.name} {model.version} has no ensemble.pt2; export it again, or use "
            "another device"
        )
    if threads is not None:
        # For the whole process: torch has no setting per model.
        torch.set_num_threads(threads)
    device = Torch(model.program, torch.device(place), precision, model.neighbours)
    device.liver_hu = model.liver_hu
    return device


def open_plain(model: Model, *, half: bool, threads: int | None = None) -> "Torch":
    """Return the model as torch runs it by default; for comparison only, a node never serves on it.

    Args:
        model: with an `ensemble.pt2`, run on the accelerator if there is one.
        half: use autocast as it is, with its cache of cast weights.
        threads: processor threads; all if None.

    Raises:
        DeviceFailed: as `open_torch`.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    place = "cpu" if found is None else found.type
    short = TorchPrecision.BFLOAT16 if place == "cpu" else TorchPrecision.FLOAT16
    device = open_torch(
        model,
        place=place,
        precision=short if half else TorchPrecision.FLOAT32,
        threads=threads,
    )
    device.captures = False
    device.casts_weights_once = half
    return device


class Torch:
    """The exported graph on one of torch's devices.

    On CUDA, a CUDA graph is captured for each slice size. Calls are serialised by a lock: a graph
    has one set of buffers.
    """

    batch = BATCH
    liver_hu: float | None = None
    captures = True
    """Whether CUDA graphs are used."""
    casts_weights_once = False
    """Whether autocast caches the weights that it casts, as it does by default. A CUDA graph
    must not refer to that cache, which is freed when autocast ends."""

    def __init__(
        self,
        program: Path,
        place: torch.device,
        precision: TorchPrecision,
        neighbours: int = 0,
    ) -> None:
        self.name = f"torch {place} {precision}"
        self.precision = precision
        self.least = 2 * neighbours + 1
        """Smallest number of slices with which one of them has all its neighbours."""
        self.room = self.usual_room = max(ROOM.get(place.type, ROOM_ON_GPU), self.least)
        """Slices computed at once, now and while there is enough memory."""
        self.neighbours = neighbours
        self._place = place
        self._lock = Lock()
        self._graphs: dict[tuple[int, ...], Run] = {}
        self._grows_at = 0.0
        exported = read_program(program)
        try:
            # `.to(place)` on the module would miss constants that the exporter wrote into the
            # graph.
            module: Any = _exact(move_to_device_pass(exported, str(place)).module())
            if precision is not TorchPrecision.FLOAT32:
                cast_convolutions(module, getattr(torch, precision))
            self._module = channels_last(module)
        except torch.OutOfMemoryError as error:
            raise DeviceOutOfMemory(
                f"{self.name} has not enough memory for the model: {error}; stop other programs "
                "that use it"
            ) from error
        except (RuntimeError, AssertionError) as error:  # no such device, or no torch built for it
            raise DeviceFailed(f"torch cannot place {program.name} on {place}: {error}") from error

    @property
    def memory_mb(self) -> int | None:
        """GPU memory in use by all processes, as for TensorRT; None on other accelerators."""
        if self._place.type != "cuda":
            return None
        try:
            free, total = torch.cuda.mem_get_info(self._place)
        except RuntimeError:  # a GPU that was lost; whoever shows this figure goes on
            return None
        return (total - free) >> 20

    def run(self, hu: Hounsfield, spacing_mm: tuple[float, float]) -> Answer:
        """Return the ensemble's answer to (n, rows, columns) slices."""
        spacing = torch.tensor(spacing_mm, dtype=torch.float32)
        with self._lock, torch.inference_mode(), self._current():
            self._grow()
            while True:
                try:
                    return self._run(hu, spacing)
                except torch.OutOfMemoryError as error:
                    self._shrink(error)
                except (RuntimeError, AssertionError) as error:  # a guard of the program asserts
                    self._graphs.clear()
                    raise DeviceFailed(
                        f"{self.name} failed on {hu.shape} slices: {error}"
                    ) from error

    def free_graphs(self) -> None:
        """Free the memory of all captured graphs; each is captured again when it is needed."""
        with self._lock:
            self._graphs.clear()

    def _current(self) -> AbstractContextManager[Any]:
        """Make the GPU this thread's current one, which streams and graphs are created on."""
        return torch.cuda.device(self._place) if self._place.type == "cuda" else nullcontext()

    def _shrink(self, error: torch.OutOfMemoryError) -> None:
        """Compute fewer slices at once.

        Raises:
            DeviceOutOfMemory: there is no memory even for one slice.
        """
        self._graphs.clear()
        if self.room == self.least:
            raise DeviceOutOfMemory(
                f"{self.name} has not enough memory for one slice: {error}; stop other programs "
                "that use it"
            ) from error
        self.room = halved(self.room, self.least)
        self._grows_at = monotonic() + GROW_AFTER_S

    def _grow(self) -> None:
        """Try twice as many slices at once again, some time after memory was short."""
        if self.room < self.usual_room and monotonic() >= self._grows_at:
            self.room = min(2 * self.room, self.usual_room)
            self._grows_at = monotonic() + GROW_AFTER_S

    def _run(self, hu: Hounsfield, spacing: Tensor) -> Answer:
        """Queue every part, with its copies, before waiting once for all of them."""
        there = self._place.type == "cuda"
        # From torch's cache of pinned memory, which a copy can be queued to without waiting.
        labels = torch.empty(hu.shape, dtype=torch.uint8, pin_memory=there)
        agreement = torch.empty((len(hu), 2, 2), pin_memory=there)
        spacing = spacing.to(self._place)
        for slab in cut(0, len(hu), len(hu), self.room, self.neighbours):
            found = self._start(self._sent(hu[slab.shown]), spacing)
            for answer, kept in zip((labels, agreement), found, strict=True):
                answer[slab.place].copy_(kept[slab.kept], non_blocking=there)
        if there:
            torch.cuda.current_stream(self._place).synchronize()
        return Answer(labels.numpy(), agreement.numpy())

    def _sent(self, hu: Hounsfield) -> Tensor:
        """Return slices on the device as float16; int16 is clipped and converted there."""
        if self._place.type != "cuda":
            return torch.from_numpy(to_float16(hu)).to(self._place)
        # torch accepts neither read-only arrays nor negative strides.
        here = torch.from_numpy(np.require(hu, requirements=["C", "W"]))
        there = here.pin_memory().to(self._place, non_blocking=True)
        return there.clamp(*HU_BOUNDS).half() if there.dtype == torch.int16 else there

    def _start(self, part: Tensor, spacing: Tensor) -> tuple[Tensor, Tensor]:
        if self._place.type != "cuda" or not self.captures:
            return self._compute(part, spacing)
        # Always the same number of slices, so that one graph serves all parts of a size.
        full = torch.cat([part, part[-1:].expand(self.room - len(part), -1, -1)])
        return self._graph_for(full, spacing)(full, spacing)

    def _compute(self, hu: Tensor, spacing: Tensor) -> tuple[Tensor, Tensor]:
        with self._autocast():
            labels, agreement = self._module(hu, spacing)
        return labels, agreement

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision is TorchPrecision.FLOAT32:
            return nullcontext()
        kind = getattr(torch, self.precision)
        return torch.autocast(self._place.type, kind, cache_enabled=self.casts_weights_once)

    def _graph_for(self, hu: Tensor, spacing: Tensor) -> Run:
        shape = tuple(hu.shape)
        if shape not in self._graphs:
            # The oldest: a dictionary keeps the order in which its keys came.
            for old in list(self._graphs)[: 1 - GRAPHS]:
                del self._graphs[old]  # frees its memory
            self._graphs[shape] = _capture(self._compute, hu, spacing)
        return self._graphs[shape]


def cast_convolutions(module: torch.fx.GraphModule, kind: torch.dtype) -> None:
    """Cast the convolutions' weights once, as autocast would at every call."""
    for node in module.graph.nodes:
        # `node.users`: an empty set is a subset of the convolutions, too.
        if node.op == "get_attr" and node.users and set(map(_target, node.users)) <= CONVOLUTIONS:
            weight = module.get_parameter(node.target)
            weight.data = weight.data.to(kind)


def _target(node: torch.fx.Node) -> Any:
    return node.target


def channels_last(module: torch.nn.Module) -> torch.nn.Module:
    """Convert the weights of 2-D convolutions to channels-last layout."""
    for weight in module.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return module


def _exact(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """Exclude the products with resampling matrices from autocast, which would flip labels.

    The exporter's assertions of types are removed, because autocast changes some types.
    """
    for node in list(module.graph.nodes):
        if node.target is torch.ops.aten.matmul.default:
            node.target = _product
        elif node.target is torch.ops.aten._assert_tensor_metadata.default:
            module.graph.erase_node(node)
    module.recompile()
    return module


def _product(one: Tensor, other: Tensor) -> Tensor:
    # `.float()` too: autocast may have handed over a half from the layer before.
    with torch.autocast(one.device.type, enabled=False):
        return one.float() @ other.float()


def _capture(run: Run, hu: Tensor, spacing: Tensor) -> Run:
    """Return `run` as a CUDA graph, which launches its many small kernels at once."""
    kept_hu, kept_spacing = hu.clone(), spacing.clone()
    aside: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # libraries choose kernels and allocate here, not in the capture
        for _ in range(2):
            run(kept_hu, kept_spacing)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # Thread-local: other threads may allocate meanwhile, for instance to open a plan.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        answer = run(kept_hu, kept_spacing)

    def replay(hu: Tensor, spacing: Tensor) -> tuple[Tensor, Tensor]:
        kept_hu.copy_(hu)
        kept_spacing.copy_(spacing)
        graph.replay()
        # The same tensors every time: their copies are queued on this stream before the next
        # replay.
        return answer

    return replay
