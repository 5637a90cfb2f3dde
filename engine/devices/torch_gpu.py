"""Whatever torch computes on as a device: a GPU of any make, or the processor.

It runs `ensemble.pt2`, a `torch.export` program of the model's graph. What was measured on two
cores: weights laid out with channels last take 0.8 of the time; half precision by autocast takes
half of it, and is held against the reference like every device.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export.passes import move_to_device_pass

from engine.acceptance.gate import check_device
from engine.device import Answer
from engine.devices.torch_program import read_program
from engine.errors import DeviceFailed, DeviceOutOfMemory, LibraryMissing
from engine.model import Model
from engine.slabs import cut

BATCH = 32
ROOM = {"cpu": 4}
"""Slices that are computed at once on the processor: more fall out of its caches."""
ROOM_THERE = 8
"""The same on anything else, before memory runs short."""

Run = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Slices and spacing to labels and agreement."""


class TorchPrecision(StrEnum):
    """Type of the numbers where autocast thinks it safe; the resampling is always float32."""

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


def open_accelerator(model: Model) -> "Torch":
    """Return the model on torch's accelerator, as fast as it still answers like the reference.

    Raises:
        LibraryMissing: torch has no accelerator here.
        DeviceFailed: the model has no `ensemble.pt2`, or no precision is near enough.
    """
    place = torch.accelerator.current_accelerator(check_available=True)
    if place is None:
        raise LibraryMissing("torch has no accelerator here; OpenVINO is faster on a processor")
    return open_nearest(model, place.type)


def open_nearest(model: Model, place: str) -> "Torch":
    """Return the model in the first precision, the fastest first, that passes the gate.

    Raises:
        DeviceFailed: none does, or the model has no `ensemble.pt2`.
    """
    faults = []
    for precision in TorchPrecision:
        device = open_torch(model, place=place, precision=precision)
        check = check_device(model, device, (1, device.room))
        if check.passed:
            return device
        faults.append(f"{device.name}: {'; '.join(check.faults)}")
    raise DeviceFailed(f"torch answers otherwise than the reference ({'; '.join(faults)})")


def open_torch(
    model: Model,
    *,
    place: str = "cpu",
    precision: TorchPrecision = TorchPrecision.FLOAT32,
    threads: int | None = None,
) -> "Torch":
    """Return the model on a device of torch's, without holding it against the reference.

    Args:
        model: whose `ensemble.pt2` to run.
        place: what torch calls the device, such as "cuda", "xpu", "mps" or "cpu".
        precision: to compute in.
        threads: of the processor; all of them if None.

    Raises:
        DeviceFailed: the model has no `ensemble.pt2`, or torch cannot read or place it.
    """
    if model.program is None:
        raise DeviceFailed(
            f"model {model.name} {model.version} has no ensemble.pt2: export it again, or use "
            "another device"
        )
    if threads is not None:
        torch.set_num_threads(threads)
    device = Torch(model.program, torch.device(place), precision, model.neighbours)
    device.liver_hu = model.liver_hu
    return device


def open_plain(model: Model, *, half: bool, threads: int | None = None) -> "Torch":
    """Return the model as torch runs it without further ado, to compare with; it serves nobody.

    Args:
        model: whose `ensemble.pt2` to run, on the accelerator if there is one.
        half: whether autocast may halve the precision, as it would by itself.
        threads: of the processor; all of them if None.

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
    return device


class Torch:
    """The exported graph. On CUDA, a CUDA graph of it is kept for the shape that came last."""

    batch = BATCH
    liver_hu: float | None = None
    captures = True
    """Whether shapes that come again are computed by a CUDA graph."""

    def __init__(
        self,
        program: Path,
        place: torch.device,
        precision: TorchPrecision,
        neighbours: int = 0,
    ) -> None:
        self.name = f"torch {place} {precision}"
        self._least = 2 * neighbours + 1
        self.room = max(ROOM.get(place.type, ROOM_THERE), self._least)
        self.neighbours = neighbours
        self._place = place
        self._precision = precision
        self._lock = Lock()
        self._captured: tuple[tuple[int, ...], Run] | None = None
        exported = read_program(program)
        try:
            module: Any = _exact(move_to_device_pass(exported, str(place)).module())
            self._module = channels_last(module)
        except torch.OutOfMemoryError as error:
            raise DeviceOutOfMemory(f"{self.name} has no room for the model: {error}") from error
        except (RuntimeError, AssertionError) as error:  # no such device, or no torch built for it
            raise DeviceFailed(f"torch cannot place {program.name} on {place}: {error}") from error

    @property
    def memory_mb(self) -> int | None:
        """The most memory of the accelerator that was in use; None where torch does not say."""
        if self._place.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated(self._place) >> 20

    def run(self, hu: NDArray[np.float16], spacing_mm: tuple[float, float]) -> Answer:
        """Return the ensemble's answer to (n, rows, columns) slices."""
        spacing = torch.tensor(spacing_mm, dtype=torch.float32)
        with self._lock, torch.inference_mode():
            while True:
                try:
                    return self._run(torch.from_numpy(hu), spacing)
                except torch.OutOfMemoryError as error:
                    self._captured = None
                    if self.room == self._least:
                        raise DeviceOutOfMemory(
                            f"{self.name} has no room for a slice: {error}"
                        ) from error
                    self.room = max(-(-self.room // 2), self._least)
                except (RuntimeError, AssertionError) as error:  # a guard of the program asserts
                    self._captured = None
                    raise DeviceFailed(
                        f"{self.name} cannot run {hu.shape} slices: {error}"
                    ) from error

    def _run(self, hu: Tensor, spacing: Tensor) -> Answer:
        """Queue every part before the first answer is waited for."""
        spacing = spacing.to(self._place)
        parts = []
        for slab in cut(0, len(hu), len(hu), self.room, self.neighbours):
            answer = self._start(hu[slab.shown], spacing)
            parts.append([each[slab.kept] for each in answer])
        labels, agreement = (torch.cat(some).cpu().numpy() for some in zip(*parts, strict=True))
        return Answer(labels, agreement)

    def _start(self, part: Tensor, spacing: Tensor) -> tuple[Tensor, Tensor]:
        if self._place.type != "cuda":
            return self._compute(part.to(self._place), spacing)
        there = part.pin_memory().to(self._place, non_blocking=True)
        if not self.captures:
            return self._compute(there, spacing)
        full = torch.cat([there, there[-1:].expand(self.room - len(part), -1, -1)])
        labels, agreement = self._graph_for(full, spacing)(full, spacing)
        return labels[: len(part)].clone(), agreement[: len(part)].clone()

    def _compute(self, hu: Tensor, spacing: Tensor) -> tuple[Tensor, Tensor]:
        with self._autocast():
            labels, agreement = self._module(hu, spacing)
        return labels, agreement

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._precision is TorchPrecision.FLOAT32:
            return nullcontext()
        kind = getattr(torch, self._precision)
        return torch.autocast(self._place.type, kind, cache_enabled=False)

    def _graph_for(self, hu: Tensor, spacing: Tensor) -> Run:
        shape = tuple(hu.shape)
        if self._captured is None or self._captured[0] != shape:
            self._captured = None  # two at once would need twice the memory
            self._captured = shape, _capture(self._compute, hu, spacing)
        return self._captured[1]


def channels_last(module: torch.nn.Module) -> torch.nn.Module:
    """Lay out the weights of 2-D convolutions with channels last; others have no such layout."""
    for weight in module.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return module


def _exact(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """Leave the products with resampling matrices out of autocast: near-ties decide labels.

    The types that the exporter saw are no longer asserted, for autocast changes some.
    """
    for node in list(module.graph.nodes):
        if node.target is torch.ops.aten.matmul.default:
            node.target = _product
        elif node.target is torch.ops.aten._assert_tensor_metadata.default:
            module.graph.erase_node(node)
    module.recompile()
    return module


def _product(one: Tensor, other: Tensor) -> Tensor:
    with torch.autocast(one.device.type, enabled=False):
        return one.float() @ other.float()


def _capture(run: Run, hu: Tensor, spacing: Tensor) -> Run:
    """Return `run` as a CUDA graph: its many small kernels are launched as one."""
    kept_hu, kept_spacing = hu.clone(), spacing.clone()
    aside: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # libraries choose their kernels before anything is captured
        for _ in range(2):
            run(kept_hu, kept_spacing)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # Other threads may go on taking memory, as a plan does that is being opened.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        answer = run(kept_hu, kept_spacing)

    def replay(hu: Tensor, spacing: Tensor) -> tuple[Tensor, Tensor]:
        kept_hu.copy_(hu)
        kept_spacing.copy_(spacing)
        graph.replay()
        return answer

    return replay
