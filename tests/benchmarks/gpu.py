"""Figures of a GPU: plans and torch beside torch eager and AMP, alone and in a whole job."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from engine.admin.device_benchmark import Speed, Task, draw_volume, measured_apart
from engine.devices.tensorrt.cuda import gpus
from engine.errors import EngineError, LibraryMissing
from engine.model import Model, load_model
from engine.plans.key import Precision
from engine.plans.store import PlanStore
from tests.benchmarks.marks import Mark, at_least, at_most
from tests.benchmarks.start import STARTS, Quiet
from tests.system.servers import missing_programs

SLICES, ROUNDS = 300, 5
OURS, THEIRS = ("TensorRT", "torch"), ("torch eager", "torch AMP")
WHOLE = f"GPU: {SLICES} slices of 512x512, volume in to label map out, by {{}}"
PEAK = "GPU: share of the measured peak, {}"
BESIDE = "GPU: {} beside {}, {}"
START = "GPU: start to ready with a plan"


def measure(folder: Path) -> Iterator[Mark]:
    """Yield the marks of the GPU of this machine, or the reason why they are not measured."""
    name = gpu_name()
    if name is None:
        yield from _not_measured("no usable GPU; `hepar engine doctor` shows the reason")
        return
    from tests.benchmarks.programs import with_program  # a minute, and it takes torch

    model = load_model(with_program(folder / "program for a GPU"))
    node = folder / "node on a GPU"
    plans = node / "data" / "plans"
    why = _prepare(model, plans)
    volume = draw_volume(SLICES, 512, folder)
    task = {name: Task(name, model.folder, plans, volume, None, ROUNDS) for name in OURS + THEIRS}
    measured_apart(task["TensorRT"])  # what is compiled on the GPU is so once
    speeds = {name: measured_apart(each) for name, each in task.items()}
    for name in OURS:
        yield from _of(name, speeds, f"on {name}{why}")
    yield from _start(node, model)


def gpu_name() -> str | None:
    """Return the name of the GPU, by CUDA or by torch; None without one."""
    try:
        return gpus()[0].name
    except LibraryMissing:
        try:
            import torch
        except ImportError:
            return None
        return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _prepare(model: Model, plans: Path) -> str:
    """Activate a plan in float16, or else in float32; return the reasons of those refused."""
    from tests.engine.plans.verified_plan import verified_plan

    refused = ""
    for precision in (Precision.FLOAT16, Precision.FLOAT32):
        try:
            plan = verified_plan(model, plans, precision)
        except EngineError as error:  # TensorRT is absent, or cannot build for this GPU
            return f"; no plan: {error}"
        check = plan.manifest.check
        if check is not None and check.passed:
            PlanStore(plans).activate(plan.name)
            break
        refused += f"; {precision} refused: {check and '; '.join(check.faults)}"
    return refused


def _of(name: str, speeds: dict[str, Speed | str], where: str) -> Iterator[Mark]:
    """Yield a device's marks."""
    ours = speeds[name]
    if isinstance(ours, str):
        yield from (Mark(what, "", f"not measured: {ours}", None) for what in _names(name))
        return
    detail = f"({ours.device} {where}; {ours.outside:.0%} outside of it; {ours.device_mb} MB)"
    yield at_most(WHOLE.format(name), 1, ours.job_s, "s", detail)
    peak = "torch has no CUDA to tell" if ours.of_peak is None else f"{ours.of_peak:.1%}"
    yield Mark(PEAK.format(name), "", peak, None if ours.of_peak is None else True)
    for other in THEIRS:
        yield from _beside(name, ours, other, speeds[other])


def _beside(name: str, ours: Speed, other: str, theirs: Speed | str) -> Iterator[Mark]:
    """Compare two devices in a full batch at a time, and in a whole job."""
    model, whole = (BESIDE.format(name, other, what) for what in ("model", "whole job"))
    if isinstance(theirs, str) or "cuda" not in theirs.device:
        why = theirs if isinstance(theirs, str) else f"torch computes on {theirs.device} only"
        yield from (Mark(what, "", why, None) for what in (model, whole))
        return
    detail = f"({ours.slices_per_s:.0f} : {theirs.slices_per_s:.0f} slices/s)"
    yield at_least(model, 1, ours.slices_per_s / theirs.slices_per_s, detail)
    detail = f"({ours.job_s:.2f} : {theirs.job_s:.2f} s)"
    yield at_least(whole, 1, theirs.job_s / ours.job_s, detail)


def _start(folder: Path, model: Model) -> Iterator[Mark]:
    """Start a node with the plan again and again; what it compiles is there from before."""
    if missing := missing_programs():
        yield Mark(START, "3 s or less", f"needs Debian's {', '.join(missing)}", None)
        return
    node = Quiet(folder, peers="", model=model.folder, quiet_s=3600)
    seconds = [node.seconds_to_ready() for _ in range(STARTS)]
    detail = f"({min(seconds):.1f} to {max(seconds):.1f} in {STARTS})"
    if "on TensorRT" not in node.log.read_text():
        yield Mark(START, "3 s or less", f"TensorRT did not serve: see {node.log}", None)
        return
    yield at_most(START, 3, median(seconds), "s", detail)


def _not_measured(why: str) -> Iterator[Mark]:
    for what in (*_names("TensorRT"), *_names("torch"), START):
        yield Mark(what, "", f"not measured: {why}", None)


def _names(name: str) -> list[str]:
    compared = [
        BESIDE.format(name, other, what) for other in THEIRS for what in ("model", "whole job")
    ]
    return [WHOLE.format(name), PEAK.format(name), *compared]
