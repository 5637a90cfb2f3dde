"""Clusters that are simulated, with times measured on one machine and, for a GPU, estimated."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from tests.benchmarks.simulation.model import (
    Costs,
    Load,
    Outcome,
    Plant,
    all_at_once,
    busiest_hour,
    least,
)

GROUP = Load(per_day=2_000)
NATION = Load(per_day=1_000_000)

WITH_GPU = Costs(
    gateway_slice_s=1 / 130,  # `bench receive`, one sender, on a slow evening; 1/312 on a good one
    quiet_s=10.0,  # receive.quiet_s; none where the number of instances is announced
    worker_series_s=1.1,  # docs/figures.md: last slice to SEG, 300 slices, less computing
    worker_slice_s=0.002,
    gpu_series_s=0.05,  # with the next line 0.4 s for 300 slices: an estimate, no GPU was measured
    gpu_slice_s=0.0012,
    store_s=0.1,  # `bench workers`
    send_s=0.5,
)
WITHOUT = replace(WITH_GPU, gpu_slice_s=1.44 / 75)  # docs/engine.md: OpenVINO on two cores
"""As above; the device is two cores of the worker's machine."""

WANTED_S = 60.0
"""95 of 100 series have their result this long after their last instance."""

BUSIEST = 0.7
"""Part of the busiest hour for which each part may be busy."""

SLICE_MB, KEEP_DAYS = 0.5, 1.0
"""Size of a slice on the disk, and for how long it is kept there (`jobs.keep_hours`)."""

PASSES = 3
"""How often a slice crosses the network: to the gateway, to the shared folder, to the worker."""

CORES = 4
"""Cores of a worker's machine beside its device."""


@dataclass(frozen=True)
class Sized:
    """A cluster that is large enough for its load, and its busiest hour."""

    plant: Plant
    outcome: Outcome


def sized(load: Load, costs: Costs, seconds: float) -> Sized:
    """Return the smallest cluster that keeps the mark in the busiest hour."""
    plant = Plant(1, 1, CORES, store_cores=1)
    device = costs.gpu_series_s + load.mean_slices * costs.gpu_slice_s
    work = costs.worker_series_s + load.mean_slices * costs.worker_slice_s
    busy = {
        "gateways": load.mean_slices * costs.gateway_slice_s,
        "workers": max(device, work / CORES, (device + work) / plant.at_once),
        "store_cores": costs.store_s,
    }
    for part, seconds_each in busy.items():
        needed = max(1, -int(-load.peak_per_s * seconds_each // BUSIEST))
        plant = replace(plant, **{part: needed})
    plant = replace(plant, cores=CORES * plant.workers)

    def enough(more: int) -> bool:
        workers = plant.workers + more - 1
        larger = replace(plant, workers=workers, cores=CORES * workers)
        return busiest_hour(load, larger, costs, seconds=seconds).percentiles()[1] <= WANTED_S

    workers = plant.workers + least(enough) - 1
    plant = replace(plant, workers=workers, cores=CORES * workers)
    return Sized(plant, busiest_hour(load, plant, costs, seconds=seconds))


@dataclass(frozen=True)
class Local:
    """Workers of this machine: series a second as measured and as simulated."""

    workers: int
    measured: float
    simulated: float


def local(figures: Path, cores: int) -> list[Local]:
    """Return what `bench workers` measured beside what follows from its figures of one worker."""
    rounds = json.loads(figures.read_text())["rounds"]
    one = rounds[0]
    # What the processor does not take of a worker's time with a series, the device does.
    device = 1 / one["per_s"] - one["worker_cpu_s"]
    costs = Costs(0.0, 0.0, one["worker_cpu_s"], 0.0, device, 0.0, one["postgres_cpu_s"], 0.0)
    return [
        Local(each["workers"], each["per_s"], _rate(each["workers"], each["series"], costs, cores))
        for each in rounds
    ]


def _rate(workers: int, series: int, costs: Costs, cores: int) -> float:
    plant = Plant(1, workers, cores, store_cores=1, at_once=1)
    ends = all_at_once(series, 0.0, plant, costs).ends
    # As it was measured: from the first end of each worker on.
    return (len(ends) - workers) / (ends[-1] - ends[0]) if ends[-1] > ends[0] else float("inf")
