"""An NVIDIA GPU as a device, by way of a TensorRT plan."""

import logging
import weakref
from collections.abc import Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from engine.acceptance.reference import check_reference
from engine.device import Answer, Device
from engine.devices.multi_gpu import MultiGpu
from engine.devices.tensorrt.builder import SMALLEST
from engine.devices.tensorrt.cuda import CudaFailed, Gpu, checked, cuda_runtime, gpus, is_lost
from engine.devices.tensorrt.engine import Engine
from engine.devices.tensorrt.library import Library, load_tensorrt
from engine.devices.tensorrt.stream import Shape, Stream
from engine.errors import DeviceFailed, DeviceOutOfMemory, StalePlan, UnknownPlan
from engine.hounsfield import Hounsfield
from engine.model import Model
from engine.plans.key import Options, PlanKey, differences, slot_of
from engine.plans.plan import Plan
from engine.plans.store import PlanStore
from engine.slabs import Slab, cut

logger = logging.getLogger(__name__)

LANES = 2
"""While one lane computes, the other copies."""
PARTS = 4
"""How often a call fills the plan: only within a call do lanes work side by side."""
SIZES = 2
"""Sizes of slices that lanes are kept for: two jobs that take turns may differ."""


def open_active(model: Model, store: PlanStore) -> Device:
    """Return the first GPU here that a plan is active for, and all others like it, running it.

    Each is held against the model's reference; one that cannot serve is left out.

    Raises:
        UnknownPlan: none is active.
        LibraryMissing, UnverifiedPlan, StalePlan, BrokenPlan, DeviceFailed: it cannot run here.
    """
    here = gpus()
    for gpu in here:
        plan = store.active(slot_of(gpu.architecture, model.digest))
        if plan is not None:
            alike = [each for each in here if each.architecture == gpu.architecture]
            return _open_all(plan, store, model, alike)
    named = ", ".join(f"{gpu.name} ({gpu.architecture})" for gpu in here)
    raise UnknownPlan(
        f"no plan is active for {named} and model {model.name} {model.version}: "
        "`hepar engine build`, `verify` and `activate` one"
    )


def _open_all(plan: Plan, store: PlanStore, model: Model, alike: Sequence[Gpu]) -> Device:
    opened: list[Device] = []
    faults: dict[int, DeviceFailed] = {}
    for gpu in alike:
        try:
            device = open_plan(plan, store, model, gpu)
            check_reference(model, device)
        except DeviceFailed as error:
            faults[gpu.index] = error
        else:
            opened.append(device)
    if not opened:
        raise next(iter(faults.values()))
    for index, fault in faults.items():
        logger.warning("without GPU %d: %s", index, fault, extra={"action": "skip_gpu"})
    return opened[0] if len(opened) == 1 else MultiGpu(opened)


def open_plan(
    plan: Plan, store: PlanStore, model: Model, gpu: Gpu | None = None, *, exact: bool = False
) -> "TensorRt":
    """Return a GPU here, running this plan.

    Args:
        plan: to run.
        store: that has it.
        model: that it should be of.
        gpu: to run it on; the first of the plan's architecture if None.
        exact: whether every call is computed as the number of slices that it carries, or not at
            all: so that the gate sees each number. Otherwise fewer are filled up.

    Raises:
        LibraryMissing: there is no GPU, driver or TensorRT for it.
        StalePlan: it was built for others than those here.
        BrokenPlan: its bytes are not what was built.
        DeviceFailed: TensorRT refuses it.
    """
    gpu = gpu or _gpu_for(plan.key.architecture)
    library = load_tensorrt(plan.key.flavour)
    require_fresh(plan, model, library, gpu)
    most, neighbours = plan.key.options.batch, model.neighbours
    if most <= 2 * neighbours:
        raise DeviceFailed(
            f"{plan.name} takes {most} slices at once, and an answer of {model.name} depends on "
            f"{2 * neighbours + 1}: build a plan with --batch {2 * neighbours + 4}"
        )
    device = TensorRt(library, store, plan, gpu.index, exact=exact, neighbours=neighbours)
    device.liver_hu = model.liver_hu
    return device


def _gpu_for(architecture: str) -> Gpu:
    here = gpus()
    return next((gpu for gpu in here if gpu.architecture == architecture), here[0])


def require_fresh(plan: Plan, model: Model, library: Library, gpu: Gpu) -> None:
    """Refuse a plan that was built for anything else than what is here.

    Raises:
        StalePlan: says what differs.
    """
    here: PlanKey = plan.key.model_copy(
        update={
            "architecture": gpu.architecture,
            "flavour": library.flavour,
            "version": library.version,
            "model": model.digest,
        }
    )
    if wrong := differences(plan.key, here):
        raise StalePlan(f"{plan.name} was {'; '.join(wrong)}: `hepar engine build` builds it anew")


class TensorRt:
    """A plan on a GPU. Copies and computing overlap; what does not fit is cut smaller."""

    liver_hu: float | None = None

    def __init__(
        self,
        library: Library,
        store: PlanStore,
        plan: Plan,
        gpu: int,
        *,
        exact: bool = False,
        neighbours: int = 0,
    ) -> None:
        self.name = f"TensorRT {plan.name}"
        self._options: Options = plan.key.options
        self.batch = PARTS * self._options.batch
        self._room = self._options.batch
        self._exact = exact
        self._least = 2 * neighbours + 1
        self.neighbours = neighbours
        self._gpu = gpu
        self._lock = Lock()
        self._runtime = cuda_runtime()
        self._lanes: dict[Shape, list[Stream]] = {}
        self._compiles = False
        weakref.finalize(self, _close, self._lanes).atexit = False
        _require_reach(gpu)
        self._use_gpu()
        self._engine = Engine(library, store.load(plan), plan.name, store.kernels_file(plan))

    @property
    def memory_mb(self) -> int | None:
        """What is in use of the GPU, by whomever; a plan keeps all that it ever took."""
        self._use_gpu()
        try:
            free, total = checked(self._runtime, self._runtime.cudaMemGetInfo())
        except CudaFailed:
            return None
        return (int(total) - int(free)) >> 20

    def run(self, hu: Hounsfield, spacing_mm: tuple[float, float]) -> Answer:
        """Return the ensemble's answer to (n, rows, columns) slices."""
        self._require_size(hu.shape)
        spacing = np.array(spacing_mm, np.float32)
        with self._lock:
            self._use_gpu()
            if self._exact:
                self._room = min(len(hu), self._options.batch)
            while True:
                try:
                    answer = self._run(hu, spacing)
                except CudaFailed as error:
                    self._recover(hu.shape, error)
                else:
                    self._keep_kernels()
                    return answer

    def _run(self, hu: Hounsfield, spacing: NDArray[np.float32]) -> Answer:
        answer = Answer(np.empty(hu.shape, np.uint8), np.empty((len(hu), 2, 2), np.float32))
        lanes = self._lanes_for((self._room, hu.shape[1], hu.shape[2]))
        busy: list[tuple[Stream, Slab]] = []
        for turn, slab in enumerate(cut(0, len(hu), len(hu), self._room, self.neighbours)):
            lane = lanes[turn % LANES]
            if len(busy) == LANES:
                _collect(*busy.pop(0), answer)
            lane.start(hu[slab.shown], spacing, self.neighbours)
            busy.append((lane, slab))
        for lane, slab in busy:
            _collect(lane, slab, answer)
        return answer

    def _lanes_for(self, shape: Shape) -> list[Stream]:
        if shape not in self._lanes:
            for old in list(self._lanes)[: 1 - SIZES]:
                _close({old: self._lanes.pop(old)})
            lanes = self._lanes[shape] = []
            captures = not (self._exact or self._engine.captures_itself)
            for _ in range(LANES):
                lanes.append(Stream(self._runtime, shape, captures=captures))
                lanes[-1].open(self._engine.context())
            self._compiles = True
        return self._lanes[shape]

    def _keep_kernels(self) -> None:
        """Keep what the first run of a shape compiled."""
        if self._compiles:
            self._engine.keep_kernels()
        self._compiles = False

    def _recover(self, shape: tuple[int, ...], error: CudaFailed) -> None:
        """Make room for another try, with fewer slices at once if need be.

        Raises:
            DeviceOutOfMemory: there is no room, not even for one slice.
            DeviceFailed: it was not for lack of memory.
        """
        said = f"{self.name} cannot run {shape} slices: {error}; {self._engine.last_errors()}"
        if is_lost(self._runtime):
            _lost[self._gpu] = self
            raise DeviceFailed(f"{said}: restart the node to use this GPU again") from error
        alone = len(self._lanes) == 1
        _close(self._lanes)
        if not error.out_of_memory:
            raise DeviceFailed(said) from error
        if not alone:
            return
        if self._exact or self._room == self._least:
            raise DeviceOutOfMemory(f"{said}: end what else uses the GPU") from error
        self._room = max(-(-self._room // 2), self._least)

    def _use_gpu(self) -> None:
        """Make the GPU this thread's, which is a thread's own setting."""
        try:
            checked(self._runtime, self._runtime.cudaSetDevice(self._gpu))
        except CudaFailed as error:
            raise DeviceFailed(f"{self.name}: {error}") from error

    def _require_size(self, shape: tuple[int, ...]) -> None:
        least, most = min(shape[1:]), max(shape[1:])
        if least < SMALLEST or most > self._options.largest:
            raise DeviceFailed(
                f"{self.name} takes slices of {SMALLEST} to {self._options.largest} rows and "
                f"columns, not of {shape[1]} x {shape[2]}: build a plan with --largest {most}"
            )


_lost: dict[int, TensorRt] = {}
"""Objects of a GPU that was lost. Never freed: TensorRT would end the process."""


def _require_reach(gpu: int) -> None:
    if gpu in _lost:
        raise DeviceFailed(
            f"GPU {gpu} was lost by this process, running {_lost[gpu].name}: restart the node to "
            "use it again"
        )


def _close(lanes: dict[Shape, list[Stream]]) -> None:
    for lane in (each for some in lanes.values() for each in some):
        lane.close()
    lanes.clear()


def _collect(lane: Stream, slab: Slab, answer: Answer) -> None:
    labels, agreement = lane.wait()
    answer.labels[slab.place] = labels[slab.kept]
    answer.agreement[slab.place] = agreement[slab.kept]
