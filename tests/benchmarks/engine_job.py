"""The engine's whole job, volume in and label map out, each measurement in a process of its own."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from engine.admin.device_benchmark import (
    Speed,
    Task,
    draw_volume,
    measured_apart,
    peak_mb,
    read_volume,
)
from engine.model import default_model_folder, load_model
from engine.segmentation.segment import segment
from engine.serving.cpu import open_device
from tests.benchmarks.marks import Mark, at_least, at_most
from tests.benchmarks.programs import with_program

SLICES = 75, 150, 300, 600
ROUNDS = 3
JOBS, SETTLED = 100, 10
"""Jobs in a row, and after how many of them memory should have stopped growing."""
SMALL = 24, 256
"""Slices, rows and columns of each of them."""


@dataclass(frozen=True)
class Growth:
    """The most memory that a process held, after some jobs and after all of them."""

    settled_mb: int
    end_mb: int


def measure(folder: Path) -> Iterator[Mark]:
    """Yield speed beside torch eager, what is outside the network, evenness, memory, growth."""
    volumes = {count: draw_volume(count, 512, folder) for count in SLICES}
    speeds = {count: _job(volume, "OpenVINO") for count, volume in volumes.items()}
    yield from _beside_torch(folder, volumes[SLICES[0]], speeds[SLICES[0]])
    outside = max(speed.outside for speed in speeds.values())
    yield at_most(
        "engine: outside the network", 15, 100 * outside, "%", "of the whole job, at most"
    )
    rates = {count: each.job_computed / each.job_cpu_s for count, each in speeds.items()}
    detail = ", ".join(f"{n}: {n / each.job_cpu_s:.1f}" for n, each in speeds.items())
    least = min(rates.values()) / max(rates.values())
    yield at_least(
        "engine: slowest beside fastest volume",
        0.8,
        least,
        f"(computed ones; of the volume {detail} a second)",
    )
    most = speeds[SLICES[-1]].host_mb / 1024
    yield at_most("engine: peak memory, 512x512x600", 2, most, "GB")
    grown = growth(folder)
    more = 100 * (grown.end_mb / grown.settled_mb - 1)
    detail = f"({grown.settled_mb} MB after {SETTLED} jobs)"
    yield at_most(f"engine: growth over {JOBS} jobs", 5, more, "%", detail)


def _beside_torch(folder: Path, volume: Path, ours: Speed) -> Iterator[Mark]:
    """The same job on torch eager; and eager on every slice, as before there was a search."""
    model = with_program(folder / "program")
    eager = _job(volume, "torch eager", model)
    again = _job(volume, "OpenVINO")
    cpu_s = statistics.mean([ours.job_cpu_s, again.job_cpu_s])  # before and after
    alike = eager.job_cpu_s / cpu_s
    every = alike * eager.job_slices / eager.job_computed
    detail = (
        f"({alike:.2g} times where torch searches too; by the processor's seconds, {cpu_s:.2g})"
    )
    yield at_least("engine: whole job beside torch eager on every slice", 3, every, detail)


def _job(volume: Path, device: str, model: Path | None = None) -> Speed:
    plans = volume.parent / "no plans"
    folder = model or default_model_folder()
    speed = measured_apart(Task(device, folder, plans, volume, None, ROUNDS))
    assert isinstance(speed, Speed), speed
    return speed


def growth(folder: Path) -> Growth:
    """Do many jobs in a row in one fresh process."""
    volume = draw_volume(*SMALL, folder)
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_many_jobs, (volume,))


def _many_jobs(file: Path) -> Growth:
    device, volume = open_device(load_model(default_model_folder())), read_volume(file)
    settled = 0
    for done in range(1, JOBS + 1):
        segment(volume, device)
        if done == SETTLED:
            settled = peak_mb()
    return Growth(settled, peak_mb())
