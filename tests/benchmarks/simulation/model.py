"""The way of a series through a cluster as a queueing model.

    gateway -> quiet time -> PostgreSQL -> slot of a worker: processor, GPU, processor -> delivery

Every part is a resource of SimPy (https://simpy.readthedocs.io); a series takes it for as long as
the work took where it was measured. Times are seconds.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import exp, log
from typing import Any

import numpy as np
import simpy

HOUR_S = 3600.0

HOURS = (1, 1, 1, 1, 1, 1, 2, 4, 8, 10, 10, 10, 9, 8, 9, 9, 8, 6, 4, 3, 3, 2, 2, 1)
"""CT by the hour of the day, as parts of their sum: a working day with emergencies at night.

An assumption; the busiest hours have 8.8 % of the day.
"""

URGENT, ROUTINE = 0, 1
"""Priorities of SimPy: the lower number goes first."""


@dataclass(frozen=True)
class Load:
    """The series that come."""

    per_day: float
    slices: float = 300.0
    """Median of a series."""
    spread: float = 0.6
    """Standard deviation of the logarithm of the slices: one series in 40 has a thousand."""
    urgent: float = 0.1
    """Part of the series."""

    @property
    def mean_slices(self) -> float:
        """Mean of a log-normal distribution of this median and spread."""
        return self.slices * exp(self.spread**2 / 2)

    @property
    def peak_per_s(self) -> float:
        """Series a second in the busiest hour."""
        return self.per_day * max(HOURS) / sum(HOURS) / HOUR_S


@dataclass(frozen=True)
class Costs:
    """Time that each part takes for a slice or for a series."""

    gateway_slice_s: float
    """Processor of a gateway."""
    quiet_s: float
    worker_series_s: float
    """Processor of a worker: reading, results, verification."""
    worker_slice_s: float
    gpu_series_s: float
    gpu_slice_s: float
    store_s: float
    """Processor of PostgreSQL for a series."""
    send_s: float
    """Delivery of the results of a series."""


@dataclass(frozen=True)
class Plant:
    """What there is of each part."""

    gateways: int
    workers: int
    cores: int
    """Cores of all workers."""
    store_cores: int = 4
    at_once: int = 2
    """Series at a time on each worker."""


@dataclass(frozen=True)
class Busy:
    """A resource, and the seconds for which it was taken."""

    resource: simpy.Resource
    taken: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """Times from a series' last instance to its delivery, and how busy each part was."""

    seconds: Sequence[float]
    urgent: Sequence[float]
    """Of the urgent series alone."""
    use: dict[str, float]
    """Part of the time for which each part was busy; 1 is all of it."""
    ends: Sequence[float]
    """Moments at which series were delivered."""

    def percentiles(self, urgent: bool = False) -> tuple[float, float, float]:
        """Return the median, the 95th and the 99th percentile."""
        p50, p95, p99 = np.percentile(self.urgent if urgent else self.seconds, (50, 95, 99))
        return float(p50), float(p95), float(p99)


class Cluster:
    """A cluster in simulated time."""

    def __init__(self, plant: Plant, costs: Costs) -> None:
        self.env = simpy.Environment()
        self._costs = costs
        self._slots = simpy.PriorityResource(self.env, plant.workers * plant.at_once)
        counts = {
            "gateways": plant.gateways,
            "processors of workers": plant.cores,
            "GPUs": plant.workers,
            "PostgreSQL": plant.store_cores,
        }
        self._parts = {
            name: Busy(simpy.Resource(self.env, count)) for name, count in counts.items()
        }
        self._done: list[tuple[float, float, bool]] = []

    def series(self, slices: float, urgent: bool) -> Iterator[Any]:
        """Yield the events of one series."""
        costs = self._costs
        yield from self._use("gateways", slices * costs.gateway_slice_s)
        arrived = self.env.now
        yield self.env.timeout(costs.quiet_s)
        yield from self._use("PostgreSQL", costs.store_s / 2)
        with self._slots.request(priority=URGENT if urgent else ROUTINE) as turn:
            yield turn
            work = costs.worker_series_s + slices * costs.worker_slice_s
            yield from self._use("processors of workers", work / 2)
            yield from self._use("GPUs", costs.gpu_series_s + slices * costs.gpu_slice_s)
            yield from self._use("processors of workers", work / 2)
        yield from self._use("PostgreSQL", costs.store_s / 2)
        yield self.env.timeout(costs.send_s)
        self._done.append((arrived, self.env.now, urgent))

    def _use(self, name: str, seconds: float) -> Iterator[Any]:
        part = self._parts[name]
        with part.resource.request() as turn:
            yield turn
            part.taken.append(seconds)
            yield self.env.timeout(seconds)

    def use(self) -> dict[str, float]:
        """Return how busy each part was so far."""
        return {
            name: sum(part.taken) / part.resource.capacity / self.env.now
            for name, part in self._parts.items()
        }

    def outcome(self, use: dict[str, float], since: float = 0.0) -> Outcome:
        """Return what became of the series that arrived after a moment."""
        counted = [(end - start, urgent) for start, end, urgent in self._done if start >= since]
        return Outcome(
            [seconds for seconds, _ in counted],
            [seconds for seconds, urgent in counted if urgent],
            use,
            [end for _, end, _ in self._done],
        )


def busiest_hour(
    load: Load, plant: Plant, costs: Costs, *, seconds: float = HOUR_S, seed: int = 1
) -> Outcome:
    """Return what becomes of the series of the busiest hour, after a third of that time as warm-up.

    Series come at random (Poisson).
    """
    chance = random.Random(seed)
    cluster = Cluster(plant, costs)
    until = seconds * 4 / 3

    def arrivals() -> Iterator[Any]:
        while cluster.env.now < until:
            yield cluster.env.timeout(chance.expovariate(load.peak_per_s))
            slices = exp(chance.gauss(log(load.slices), load.spread))
            cluster.env.process(cluster.series(slices, chance.random() < load.urgent))

    cluster.env.process(arrivals())
    cluster.env.run(until=until)
    use = cluster.use()
    cluster.env.run()  # what came is done, however long it waits
    return cluster.outcome(use, since=seconds / 3)


def all_at_once(series: int, slices: float, plant: Plant, costs: Costs) -> Outcome:
    """Return what becomes of series that are all there at the beginning."""
    cluster = Cluster(plant, costs)
    for _ in range(series):
        cluster.env.process(cluster.series(slices, urgent=False))
    cluster.env.run()
    return cluster.outcome(cluster.use())


def least(wanted: Callable[[int], bool]) -> int:
    """Return the least number that is enough, by doubling and halving."""
    high = 1
    while not wanted(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if wanted(middle) else (middle, high)
    return high
