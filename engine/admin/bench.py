"""`hepar engine bench`: what each device makes of a phantom, alone and in a whole job."""

import json
import multiprocessing
import resource
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.admin.options import DEFAULT_PLANS, ModelFolder, PlansFolder
from engine.devices import Answer, Device
from engine.errors import EngineError
from engine.fleet import openers
from engine.model import Model, default_model_folder, load_model
from engine.phantom import make_phantom
from engine.segment import segment

ROUNDS = 3
"""Each figure of the model alone is the median of this many."""

DEVICES = "TensorRT", "OpenVINO", "ONNX Runtime"
"""What is measured, where it is here."""


@dataclass(frozen=True)
class Speed:
    """What a device did."""

    device: str
    slices_per_s: float
    """Of the model alone, a full batch at a time."""
    latency_ms: float
    """Of one slice alone."""
    job_s: float
    """From the volume to its label map."""
    job_slices: int
    """Slices of the volume; those far from the liver are not computed."""
    outside: float
    """Part of the job's time that was not the device's."""
    peak_mb: int
    """Of the process, in main memory."""


@dataclass(frozen=True)
class Task:
    """What to measure."""

    device: str
    model: Path
    plans: Path
    slices: int
    size: int
    threads: int | None


def bench(
    slices: Annotated[int, typer.Option(min=2, help="Slices of the volume.")] = 75,
    size: Annotated[int, typer.Option(min=32, help="Rows and columns of a slice.")] = 512,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the processor.")] = None,
    device: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(DEVICES)}.")] = None,
    file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    model: ModelFolder = None,
    plans: PlansFolder = DEFAULT_PLANS,
) -> None:
    """Measure every device that is here on a phantom, each in a process of its own."""
    if unknown := set(device or ()) - set(DEVICES):
        raise typer.BadParameter(f"no device {unknown.pop()!r}, only {', '.join(DEVICES)}")
    folder = load_model(model or default_model_folder()).folder
    table = _table(slices, size)
    measured: dict[str, Speed | str] = {}
    with Console(stderr=True).status("measuring …"):
        for name in device or DEVICES:
            task = Task(name, folder, plans, slices, size, threads)
            measured[name] = _apart(task)
            _add(table, name, measured[name])
    Console().print(table)
    if file is not None:
        figures = {n: asdict(s) if isinstance(s, Speed) else s for n, s in measured.items()}
        file.write_text(json.dumps(figures, indent=2) + "\n")


def measure(task: Task) -> Speed | str:
    """Return what a device does, or why it is not measured."""
    model = load_model(task.model)
    try:
        device = _open(task, model)
        return _speed(task, device)
    except EngineError as error:
        return str(error)


def _open(task: Task, model: Model) -> Device:
    if task.device == "ONNX Runtime":
        from engine.devices.onnxruntime import open_onnxruntime  # only measured, never serving

        return open_onnxruntime(model, threads=task.threads)
    serving = openers(model, task.plans, threads=task.threads)
    return next(each for each in serving if each.name == task.device).open()


def _speed(task: Task, device: Device) -> Speed:
    tall_mm = 400 / task.slices
    made = make_phantom(
        shape=(task.slices, task.size, task.size),
        spacing_mm=(tall_mm, 400 / task.size, 400 / task.size),
    )
    _, rows_mm, columns_mm = made.volume.geometry.spacing
    spacing_mm = rows_mm, columns_mm
    middle = task.slices // 2
    hu = np.resize(made.volume.hu[middle:], (device.batch, task.size, task.size))
    batch = np.clip(hu, -1024, 2048).astype(np.float16)
    timed = _Timed(device)
    timed.run(batch, spacing_mm)  # compiles
    full = median(timed.seconds_of(batch, spacing_mm) for _ in range(ROUNDS))
    one = median(timed.seconds_of(batch[:1], spacing_mm) for _ in range(ROUNDS))
    timed.total = 0.0
    begun = perf_counter()
    segment(made.volume, timed)
    job_s = perf_counter() - begun
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Speed(
        device=device.name,
        slices_per_s=round(len(batch) / full, 2),
        latency_ms=round(one * 1000, 1),
        job_s=round(job_s, 2),
        job_slices=task.slices,
        outside=round(1 - timed.total / job_s, 3),
        peak_mb=peak_kb >> 10,
    )


class _Timed:
    """A device that counts its seconds."""

    def __init__(self, device: Device) -> None:
        self.device, self.name, self.batch = device, device.name, device.batch
        self.total = 0.0

    def run(self, hu: NDArray[np.float16], spacing_mm: tuple[float, float]) -> Answer:
        """Return what the device answers."""
        begun = perf_counter()
        answer = self.device.run(hu, spacing_mm)
        self.total += perf_counter() - begun
        return answer

    def seconds_of(self, hu: NDArray[np.float16], spacing_mm: tuple[float, float]) -> float:
        """Return how long one call takes."""
        begun = perf_counter()
        self.run(hu, spacing_mm)
        return perf_counter() - begun


def _apart(task: Task) -> Speed | str:
    """Measure in a fresh process, so that its peak of memory is the device's own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (task,))


def _table(slices: int, size: int) -> Table:
    return Table(
        "Device",
        "Model\nslices/s",
        "One slice\nms",
        "Whole job\ns",
        "Outside\nthe device",
        "Peak\nMB",
        title=f"{slices} slices of {size}x{size}",
    )


def _add(table: Table, name: str, speed: Speed | str) -> None:
    if isinstance(speed, str):
        table.add_row(f"{name}\n[dim]not measured: {escape(speed)}[/dim]")
        return
    table.add_row(
        speed.device,
        f"{speed.slices_per_s:.1f}",
        f"{speed.latency_ms:.0f}",
        f"{speed.job_s:.1f}",
        f"{speed.outside:.0%}",
        str(speed.peak_mb),
    )
