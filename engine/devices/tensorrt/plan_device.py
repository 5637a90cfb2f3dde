"""A TensorRT plan on an NVIDIA GPU."""

import logging
import weakref
from collections.abc import Sequence
from threading import Lock
from time import monotonic, perf_counter

import numpy as np
from numpy.typing import NDArray

from engine.acceptance.reference import check_reference
from engine.device import Answer, Device
from engine.devices.batch_size import candidates, chosen, halved
from engine.devices.multi_gpu import MultiGpu
from engine.devices.tensorrt.builder import SMALLEST, tuned_batch
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

STREAMS = 2
"""While one stream computes, the other copies and converts."""
PARTS = 4
"""Batches per call: streams overlap only within a call."""
SIZES = 2
"""Slice sizes that streams are kept for: two jobs that take turns may differ."""
ANY_SPACING = 0.8, 0.7
"""Millimetres between pixels of slices whose answer nobody reads."""
GROW_AFTER_S = 60.0
"""After running out of memory, smaller batches are used for this long."""


def open_active(model: Model, store: PlanStore) -> Device:
    """Open the active plan on all GPUs of the first architecture that has one.

    Each is checked against the model's reference; one that cannot serve is left out.

    Raises:
        UnknownPlan: no plan is active.
        LibraryMissing, UnverifiedPlan, StalePlan, BrokenPlan, DeviceFailed: it cannot be used.
    """
    here = gpus()
    for gpu in here:
        plan = store.active(slot_of(gpu.architecture, model.digest))
        if plan is not None:
            alike = [each for each in here if each.architecture == gpu.architecture]
            return _open_all(plan, store, model, alike)
    named = ", ".join(f"{gpu.name} ({gpu.architecture})" for gpu in here)
    raise UnknownPlan(
        f"no plan is active for {named} and model {model.name} {model.version}; "
        "run `hepar engine rebuild --all --activate-when-verified`"
    )


def _open_all(plan: Plan, store: PlanStore, model: Model, alike: Sequence[Gpu]) -> Device:
    opened: list[Device] = []
    faults: dict[int, DeviceFailed] = {}
    for gpu in alike:
        try:
            device = open_plan(plan, store, model, gpu)
            check_reference(model, device)
            device.warm()
        except DeviceFailed as error:
            faults[gpu.index] = error
        else:
            opened.append(device)
    if not opened:
        # The first GPU's is as good as any; the others are alike.
        raise next(iter(faults.values()))
    for index, fault in faults.items():
        logger.warning("without GPU %d: %s", index, fault, extra={"action": "skip_gpu"})
    return opened[0] if len(opened) == 1 else MultiGpu(opened)


def open_plan(
    plan: Plan, store: PlanStore, model: Model, gpu: Gpu | None = None, *, exact: bool = False
) -> "TensorRt":
    """Open a plan on a GPU.

    Args:
        plan: to open.
        store: that contains it.
        model: that it must belong to.
        gpu: to use; the first of the plan's architecture if None.
        exact: compute exactly the number of slices of each call, so that the gate checks every
            batch size. Otherwise smaller batches are padded.

    Raises:
        LibraryMissing: GPU, driver or TensorRT is missing.
        StalePlan: it was built for another GPU, TensorRT or model.
        BrokenPlan: it does not match its manifest.
        DeviceFailed: TensorRT rejects it.
    """
    gpu = gpu or _gpu_for(plan.key.architecture)
    library = load_tensorrt(plan.key.flavour)
    require_fresh(plan, model, library, gpu)
    most, neighbours = plan.key.options.batch, model.neighbours
    # Of a call's slices that many serve as neighbours only: none would be left to answer.
    if most <= 2 * neighbours:
        raise DeviceFailed(
            f"{plan.name} takes {most} slices at once, and an answer of {model.name} depends on "
            f"{2 * neighbours + 1}; build a plan with --batch {2 * neighbours + 4}"
        )
    device = TensorRt(library, store, plan, gpu.index, exact=exact, neighbours=neighbours)
    device.liver_hu = model.liver_hu
    return device


def _gpu_for(architecture: str) -> Gpu:
    here = gpus()
    # Any GPU if none fits: `require_fresh` then says how the two differ.
    return next((gpu for gpu in here if gpu.architecture == architecture), here[0])


def require_fresh(plan: Plan, model: Model, library: Library, gpu: Gpu) -> None:
    """Reject a plan that was built for another GPU, TensorRT or model.

    Raises:
        StalePlan: names the differences.
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
        raise StalePlan(f"{plan.name} was {'; '.join(wrong)}; `hepar engine rebuild` replaces it")


class TensorRt:
    """A plan on a GPU. Copies and computing overlap; batches shrink if memory is short.

    Calls are serialised by a lock: streams have one set of buffers.
    """

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
        self._exact = exact
        self._least = 2 * neighbours + 1
        self._use_batch(self._options.batch)
        self.neighbours = neighbours
        self._gpu = gpu
        self._lock = Lock()
        self._runtime = cuda_runtime()
        self._streams: dict[Shape, list[Stream]] = {}
        self._compiles = False
        self._grows_at = 0.0
        # Not at exit: CUDA may have been unloaded by then, and frees everything itself.
        # It is given the dictionary, not `self`, which it would keep alive for ever.
        weakref.finalize(self, _close, self._streams).atexit = False
        _require_reach(gpu)
        self._use_gpu()
        self._engine = Engine(library, store.load(plan), plan.name, store.kernels_file(plan))

    @property
    def memory_mb(self) -> int | None:
        """GPU memory in use by all processes."""
        try:
            self._use_gpu()
            free, total = checked(self._runtime, self._runtime.cudaMemGetInfo())
        except (CudaFailed, DeviceFailed):  # a GPU that was lost; whoever shows this figure goes on
            return None
        return (int(total) - int(free)) >> 20

    def run(self, hu: Hounsfield, spacing_mm: tuple[float, float]) -> Answer:
        """Return the ensemble's answer to (n, rows, columns) slices."""
        self._require_size(hu.shape)
        spacing = np.array(spacing_mm, np.float32)
        with self._lock:
            self._use_gpu()
            if self._exact:
                # Another batch size is another shape, for which streams are opened anew.
                self._room = min(len(hu), self._options.batch)
            else:
                self._grow()
            while True:
                try:
                    answer = self._run(hu, spacing)
                except CudaFailed as error:
                    self._recover(hu.shape, error)
                else:
                    self._keep_kernels()
                    return answer

    def warm(self) -> None:
        """Measure which batch size is fastest, and prepare it for slices of the usual size.

        The reference has another size, and the first job would wait for buffers, graphs and, with
        TensorRT for RTX, kernels.

        Raises:
            DeviceOutOfMemory: there is not enough memory even for one slice.
            DeviceFailed: the plan does not run.
        """
        sizes = candidates(self._options.batch, self._least)
        # The same slices for each size, so that the times compare: even of the largest, one batch
        # for each stream. Dense layers take as long on zeros.
        usual = self._options.usual
        some = np.zeros((STREAMS * self._options.batch, usual, usual), np.int16)
        seconds = self._measured(sizes, some)
        if len(sizes) > 1:
            # Those of slower batch sizes would hold their memory until other slices displace them.
            _close(self._streams)
            # If memory was short from the start, nothing was measured.
            tuned = max(tuned_batch(self._options), self._least)
            self._use_batch(chosen(seconds, self.name) if seconds else tuned)
            self.run(some[:1], ANY_SPACING)

    def _measured(self, sizes: Sequence[int], some: Hounsfield) -> dict[int, float]:
        """Return the seconds for `some` slices by each batch size that there is memory for."""
        seconds: dict[int, float] = {}
        for size in sizes:
            self._use_batch(size)
            self.run(some[:1], ANY_SPACING)  # opens streams, captures graphs, compiles kernels
            if len(sizes) == 1:
                break
            # The faster of two, because other programs can only slow a run down.
            fastest = min(self._seconds(some) for _ in range(2))
            if self._room < size:  # no memory for so many: none for more either
                break
            seconds[size] = fastest
        return seconds

    def _seconds(self, some: Hounsfield) -> float:
        begun = perf_counter()
        self.run(some, ANY_SPACING)
        return perf_counter() - begun

    def _use_batch(self, size: int) -> None:
        """Compute so many slices at once from now on, and fewer only while memory is short."""
        self._room = self._usual_room = size
        self.batch = PARTS * size

    def _grow(self) -> None:
        """Try twice as many slices at once again, some time after memory was short."""
        if self._room < self._usual_room and monotonic() >= self._grows_at:
            self._room = min(2 * self._room, self._usual_room)
            self._grows_at = monotonic() + GROW_AFTER_S

    def _run(self, hu: Hounsfield, spacing: NDArray[np.float32]) -> Answer:
        answer = Answer(np.empty(hu.shape, np.uint8), np.empty((len(hu), 2, 2), np.float32))
        streams = self._streams_for((self._room, hu.shape[1], hu.shape[2]))
        busy: list[tuple[Stream, Slab]] = []
        for turn, slab in enumerate(cut(0, len(hu), len(hu), self._room, self.neighbours)):
            stream = streams[turn % STREAMS]
            # The oldest is this very stream: its answer lies in buffers that `start` overwrites.
            if len(busy) == STREAMS:
                _collect(*busy.pop(0), answer)
            stream.start(hu[slab.shown], spacing, self.neighbours)
            busy.append((stream, slab))
        for stream, slab in busy:
            _collect(stream, slab, answer)
        return answer

    def _streams_for(self, shape: Shape) -> list[Stream]:
        if shape not in self._streams:
            # The oldest: a dictionary keeps the order in which its keys came.
            for old in list(self._streams)[: 1 - SIZES]:
                _close({old: self._streams.pop(old)})
            # Registered before they are opened: if memory runs out, `_recover` closes what is open.
            streams = self._streams[shape] = []
            captures = not (self._exact or self._engine.captures_itself)
            for _ in range(STREAMS):
                streams.append(Stream(self._runtime, shape, captures=captures))
                streams[-1].open(self._engine.context(), self._engine.memory_size)
            self._compiles = True
        return self._streams[shape]

    def _keep_kernels(self) -> None:
        """Save what the first run of a shape compiled."""
        if self._compiles:
            self._engine.keep_kernels()
        self._compiles = False

    def _recover(self, shape: tuple[int, ...], error: CudaFailed) -> None:
        """Free memory for another try, with fewer slices at once if necessary.

        Raises:
            DeviceOutOfMemory: there is not enough memory even for one slice.
            DeviceFailed: the failure has another cause.
        """
        reason = f"{self.name} failed on {shape} slices: {error}; {self._engine.last_errors()}"
        if is_lost(self._runtime):
            # Before anything is freed: on a lost GPU TensorRT's destructors end the process.
            _lost[self._gpu] = self
            raise DeviceFailed(f"{reason}; restart the node to use this GPU again") from error
        alone = len(self._streams) <= 1  # nothing else of this device could be freed
        _close(self._streams)
        if not error.out_of_memory:
            raise DeviceFailed(reason) from error
        # Streams of other slice sizes were freed, so try the same number of slices again.
        if not alone:
            return
        if self._exact or self._room == self._least:
            smaller = ", or build a plan with a smaller --batch" if self._exact else ""
            raise DeviceOutOfMemory(
                f"{reason}; stop other programs that use the GPU{smaller}"
            ) from error
        self._room = halved(self._room, self._least)
        self._grows_at = monotonic() + GROW_AFTER_S

    def _use_gpu(self) -> None:
        """Make the GPU the current one of this thread; CUDA keeps this setting per thread."""
        try:
            checked(self._runtime, self._runtime.cudaSetDevice(self._gpu))
        except CudaFailed as error:
            raise DeviceFailed(f"{self.name}: {error}") from error

    def _require_size(self, shape: tuple[int, ...]) -> None:
        least, most = min(shape[1:]), max(shape[1:])
        if least < SMALLEST or most > self._options.largest:
            raise DeviceFailed(
                f"{self.name} takes slices of {SMALLEST} to {self._options.largest} rows and "
                f"columns, not of {shape[1]} x {shape[2]}; build a plan with --largest {most}"
            )


_lost: dict[int, TensorRt] = {}
"""Objects of a GPU that was lost. Never freed: TensorRT would end the process."""


def _require_reach(gpu: int) -> None:
    if gpu in _lost:
        raise DeviceFailed(
            f"GPU {gpu} was lost by this process, running {_lost[gpu].name}; restart the node to "
            "use it again"
        )


def _close(streams: dict[Shape, list[Stream]]) -> None:
    for stream in (each for some in streams.values() for each in some):
        stream.close()
    streams.clear()


def _collect(stream: Stream, slab: Slab, answer: Answer) -> None:
    labels, agreement = stream.wait()
    answer.labels[slab.place] = labels[slab.kept]
    answer.agreement[slab.place] = agreement[slab.kept]
