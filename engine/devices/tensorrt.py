"""An NVIDIA GPU as a device, by way of a TensorRT plan."""

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.devices import Answer
from engine.devices.cuda import CudaFailed, Gpu, checked, cuda_runtime, gpus
from engine.devices.tensorrt_builder import SMALLEST
from engine.devices.tensorrt_lane import Lane
from engine.devices.tensorrt_library import Library, keeper, load_tensorrt
from engine.errors import DeviceFailed, StalePlan, UnknownPlan
from engine.model import Model
from engine.plans.key import Options, PlanKey, differences
from engine.plans.plan import Plan
from engine.plans.store import PlanStore

LANES = 2
"""While one lane computes, the other copies."""
PARTS = 4
"""How often a call fills the plan: only within a call do lanes work side by side."""


def open_active(model: Model, store: PlanStore) -> "TensorRt":
    """Return the first GPU here, running the plan that is active for it and the model.

    Raises:
        UnknownPlan: none is active.
        LibraryMissing, StalePlan, BrokenPlan, DeviceFailed: it cannot run here.
    """
    gpu = gpus()[0]
    slot = f"{gpu.architecture}-{model.digest[:12]}"
    plan = store.active(slot)
    if plan is None:
        raise UnknownPlan(
            f"no plan is active for {gpu.name} ({gpu.architecture}) and model {model.name} "
            f"{model.version}: `hepar engine build`, `verify` and `activate` one"
        )
    return open_plan(plan, store, model, gpu)


def open_plan(plan: Plan, store: PlanStore, model: Model, gpu: Gpu | None = None) -> "TensorRt":
    """Return a GPU here, running this plan.

    Raises:
        LibraryMissing: there is no GPU, driver or TensorRT for it.
        StalePlan: it was built for others than those here.
        BrokenPlan: its bytes are not what was built.
        DeviceFailed: TensorRT refuses it.
    """
    gpu = gpu or gpus()[0]
    library = load_tensorrt(plan.key.flavour)
    require_fresh(plan, model, library, gpu)
    return TensorRt(library, store.load(plan), plan.name, plan.key.options, gpu.index)


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

    def __init__(
        self, library: Library, content: bytes, plan: str, options: Options, gpu: int
    ) -> None:
        self.name = f"TensorRT {plan}"
        self.batch = PARTS * options.batch
        self._options = options
        self._gpu = gpu
        self._lock = Lock()
        self._complaints: list[str] = []
        self._room = options.batch
        self._lanes: list[Lane] = []
        self._runtime = cuda_runtime()
        trt: Any = library.module
        self._trt = trt
        self._call(self._runtime.cudaSetDevice(gpu))
        self._loader = trt.Runtime(keeper(trt, self._complaints))
        self._engine = self._loader.deserialize_cuda_engine(content)
        if self._engine is None:
            raise DeviceFailed(f"{library.name} cannot load {plan}: {self._said()}")

    @property
    def memory_mb(self) -> int | None:
        """What is in use of the GPU, by whomever; a plan keeps all that it ever took."""
        free, total = self._call(self._runtime.cudaMemGetInfo())
        return (int(total) - int(free)) >> 20

    def run(self, hu: NDArray[np.float16], spacing_mm: tuple[float, float]) -> Answer:
        """Return the ensemble's answer to (n, rows, columns) slices."""
        self._require_size(hu.shape)
        spacing = np.array(spacing_mm, np.float32)
        with self._lock:
            self._call(self._runtime.cudaSetDevice(self._gpu))  # a thread's own setting
            while True:
                try:
                    return self._run(hu, spacing)
                except CudaFailed as error:
                    self._close()
                    if not error.out_of_memory or self._room == 1:
                        raise DeviceFailed(
                            f"{self.name} cannot run {hu.shape} slices: {error}; {self._said()}"
                        ) from error
                    self._room = -(-self._room // 2)

    def _run(self, hu: NDArray[np.float16], spacing: NDArray[np.float32]) -> Answer:
        answer = Answer(np.empty(hu.shape, np.uint8), np.empty((len(hu), 2, 2), np.float32))
        lanes = self._lanes_for((hu.shape[1], hu.shape[2]))
        busy: list[tuple[Lane, slice]] = []
        for turn, start in enumerate(range(0, len(hu), self._room)):
            lane = lanes[turn % LANES]
            if len(busy) == LANES:
                _collect(*busy.pop(0), answer)
            part = slice(start, min(start + self._room, len(hu)))
            lane.start(hu[part], spacing)
            busy.append((lane, part))
        for lane, part in busy:
            _collect(lane, part, answer)
        return answer

    def _lanes_for(self, size: tuple[int, int]) -> list[Lane]:
        if not self._lanes or self._lanes[0].size != size:
            self._close()
            for _ in range(LANES):
                lane = Lane(self._runtime, (self._room, *size), captures=not self._self_capturing)
                self._lanes.append(lane)
                lane.open(self._context())
        return self._lanes

    def _context(self) -> Any:
        """Return an execution context; TensorRT for RTX captures a CUDA graph per shape itself."""
        if self._self_capturing:
            config = self._engine.create_runtime_config()
            config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            context = self._engine.create_execution_context(config)
        else:
            context = self._engine.create_execution_context()
        if context is None:
            raise CudaFailed(f"no execution context: {self._said()}", out_of_memory=True)
        return context

    @property
    def _self_capturing(self) -> bool:
        return hasattr(self._trt, "CudaGraphStrategy")

    def _close(self) -> None:
        for lane in self._lanes:
            lane.close()
        self._lanes = []

    def _require_size(self, shape: tuple[int, ...]) -> None:
        least, most = min(shape[1:]), max(shape[1:])
        if least < SMALLEST or most > self._options.largest:
            raise DeviceFailed(
                f"{self.name} takes slices of {SMALLEST} to {self._options.largest} rows and "
                f"columns, not of {shape[1]} x {shape[2]}: build a plan with --largest {most}"
            )

    def _call(self, answer: tuple[Any, ...]) -> Any:
        try:
            return checked(self._runtime, answer)
        except CudaFailed as error:
            raise DeviceFailed(f"{self.name}: {error}") from error

    def _said(self) -> str:
        return "; ".join(self._complaints[-3:]) or "TensorRT did not say why"


def _collect(lane: Lane, part: slice, answer: Answer) -> None:
    labels, agreement = lane.wait()
    answer.labels[part] = labels
    answer.agreement[part] = agreement
