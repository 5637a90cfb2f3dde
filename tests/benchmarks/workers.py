"""Throughput of 1, 2, 4 and 8 workers of a cluster on this machine, and the load on PostgreSQL.

`python -m tests.benchmarks.bench workers`. Each device sleeps where a GPU would compute, so that a
few cores suffice for eight workers.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import create_engine, text

from tests.benchmarks.marks import Mark, at_least, at_most
from tests.dicom_node.node_process import SleepingThresholds
from tests.system.cluster import Cluster
from tests.system.postgres import Postgres, postgres_program
from tests.system.small_series import series
from tests.waiting import wait_until

FIGURES = Path("bench") / "workers.json"
"""Read by the simulation (`python -m tests.benchmarks.simulation`)."""

NUMBERS = 1, 2, 4, 8
"""Workers at a time."""

SERIES = 6
"""For each worker."""

OBJECTS = 2
"""SEG and report."""

SLICE_S = 0.75
"""The device's sleep for one slice."""

IDLE_S = 20.0
"""Time over which PostgreSQL is watched while no series is there."""

PER_HOUR = 2000
"""Series for which the load on PostgreSQL is stated."""

ENDED = text(
    "SELECT executor_id, started_at_epoch_ms, completed_at FROM dbos.workflow_status"
    " WHERE name = 'segment' AND status = 'SUCCESS' AND started_at_epoch_ms >= :since"
    " ORDER BY completed_at"
)


@dataclass(frozen=True)
class Throughput:
    """What a number of workers did with the series that waited for them."""

    workers: int
    series: int
    per_s: float
    """Series a second: those of each worker between its first end and its last, summed."""
    worker_cpu_s: float
    """Processor's time of a worker for each series."""
    postgres_cpu_s: float
    """The same of PostgreSQL, without what polling takes."""
    polling: float
    """Part of one core that PostgreSQL takes while these workers wait."""


def measure(folder: Path) -> list[Mark]:
    """Run the series through 1, 2, 4 and 8 workers."""
    if postgres_program("initdb") is None:
        return [Mark("workers", "", "needs Debian's postgresql", None)]
    with Postgres() as server, Cluster(folder / "workers", server.url) as cluster:
        cluster.dead_s = 600.0
        found = list(_rounds(cluster, server))
        cluster.stop()
    FIGURES.parent.mkdir(exist_ok=True)
    figures = {"slice_s": SLICE_S, "rounds": [asdict(each) for each in found]}
    FIGURES.write_text(json.dumps(figures, indent=2))
    one, most = found[0], found[-1]
    marks = []
    for each in found[1:]:
        name = f"workers: {each.workers}, beside one, for each of them"
        rate = each.per_s / one.per_s / each.workers
        marks.append(at_least(name, 0.9, rate, f"({each.per_s:.2f} : {one.per_s:.2f} series/s)"))
    load = 100 * (most.polling + PER_HOUR / 3600 * most.postgres_cpu_s)
    detail = f"(polling {100 * most.polling:.1f}, each series {1000 * most.postgres_cpu_s:.0f} ms)"
    name = f"PostgreSQL at {PER_HOUR} series an hour, {most.workers} workers: part of one core"
    return [*marks, at_most(name, 20, load, "%", detail)]


def _rounds(cluster: Cluster, server: Postgres) -> Iterator[Throughput]:
    gateway = cluster.gateway()
    workers: list[psutil.Process] = []
    database, delivered = psutil.Process(server.pid), 0
    for number in NUMBERS:
        while len(workers) < number:
            process = cluster.start("work", device=SleepingThresholds(SLICE_S))
            workers.append(psutil.Process(process.pid))
        wait_until(lambda: cluster.lines("works with model") == len(workers))
        time.sleep(IDLE_S / 2)  # polling slows down
        with _taken([database]) as idle:
            time.sleep(IDLE_S)
        paths = [series(cluster.folder / f"{number}-{each}") for each in range(SERIES * number)]
        since = time.time() * 1000
        delivered += OBJECTS * len(paths)
        with _taken([database]) as postgres, _taken(workers) as used:
            for each in paths:
                gateway.send_many(each)
            _wait_for(cluster.delivered, delivered)
        yield Throughput(
            number,
            len(paths),
            _rate(server, since),
            used["cpu_s"] / len(paths),
            (postgres["cpu_s"] - postgres["wall_s"] * idle["cpu_s"] / IDLE_S) / len(paths),
            idle["cpu_s"] / IDLE_S,
        )


def _wait_for(folder: Path, files: int) -> None:
    """Return once a folder has so many files; the job store is not asked, since it is measured."""

    def there() -> bool:
        return folder.is_dir() and len(list(folder.iterdir())) >= files

    wait_until(there, 900, f"{files} results")


def _rate(server: Postgres, since_ms: float) -> float:
    """Return the series a second of all workers that ended since."""
    ends: dict[str, list[float]] = {}
    engine = create_engine(server.url.replace("postgresql", "postgresql+psycopg", 1))
    with engine.connect() as store:
        for executor, _, completed in store.execute(ENDED, {"since": since_ms}):
            ends.setdefault(executor, []).append(completed / 1000)
    engine.dispose()
    return sum((len(each) - 1) / (each[-1] - each[0]) for each in ends.values() if len(each) > 1)


@contextmanager
def _taken(processes: list[psutil.Process]) -> Iterator[dict[str, Any]]:
    """Yield what becomes the seconds of the block, and the processor's of some processes in it."""
    found: dict[str, Any] = {}
    begun, before = time.monotonic(), _seconds(processes)
    yield found
    found |= {"cpu_s": _seconds(processes) - before, "wall_s": time.monotonic() - begun}


def _seconds(processes: list[psutil.Process]) -> float:
    """Return the processor's time of processes and all their children, also of ended ones."""
    everyone = [each for one in processes for each in (one, *one.children(recursive=True))]
    times = [each.cpu_times() for each in everyone]
    ended = [one.cpu_times() for one in processes]
    return sum(each.user + each.system for each in times) + sum(
        each.children_user + each.children_system for each in ended
    )
