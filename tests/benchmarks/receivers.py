"""Slices received per second by one and by several gateways, beside DCMTK's `storescp --fork`.

`python -m tests.benchmarks.bench receivers`. One sender or four send a series each, in the same run
to all in turn. Hepar has each slice on the disk before it answers; `storescp` leaves that to the
system.
"""

import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

from tests.benchmarks.marks import Mark, at_least
from tests.benchmarks.phantoms import phantom_files
from tests.system.cluster import Cluster
from tests.system.gateways import Gateways
from tests.system.postgres import Postgres, postgres_program
from tests.system.servers import Storescp, storescu

SLICES = 300
"""Of each series; 512x512 pixels."""

SENDERS = 1, 4

ROUNDS = 3

STORESCP = "storescp --fork"


def measure(folder: Path) -> Iterator[Mark]:
    """Send series of their own to each receiver, round by round."""
    if postgres_program("initdb") is None:
        yield Mark("receivers", "", "needs Debian's postgresql", None)
        return
    rates = defaultdict[tuple[str, int], list[float]](list)
    counts = sorted({1, os.cpu_count() or 1})
    with Postgres() as server:
        for number in range(ROUNDS):
            for name, senders, rate in _round(folder / f"round{number}", server.url, counts):
                rates[name, senders].append(rate)
            shutil.rmtree(folder / f"round{number}")
    for count in counts:
        for senders in SENDERS:
            ours, theirs = rates[_named(count), senders], rates[STORESCP, senders]
            ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
            detail = f"({median(ours):.0f} : {median(theirs):.0f} slices/s)"
            name = f"{_named(count)} beside {STORESCP}, senders: {senders}"
            yield at_least(name, 0.8, ratio, detail)


def _named(count: int) -> str:
    return f"receive.processes = {count}"


def _round(folder: Path, url: str, counts: list[int]) -> Iterator[tuple[str, int, float]]:
    """Yield receiver, number of senders, and slices a second."""
    folder.mkdir()
    with Storescp(folder / "storescp", "--fork") as scp:
        for senders in SENDERS:
            yield STORESCP, senders, _rate(scp.dicom_port, _series(folder, "theirs", senders))
    for count in counts:
        cluster = Cluster(folder / f"cluster{count}", url)
        with Gateways(cluster.folder, cluster.settings, url, count, quiet_s=3600) as gateways:
            for senders in SENDERS:
                files = _series(folder, f"ours{count}", senders)
                yield _named(count), senders, _rate(gateways.port, files)


def _series(folder: Path, name: str, count: int) -> list[list[Path]]:
    """Write series that no receiver has seen."""
    prefix = f"{folder.name}-{name}-{count}"
    return [phantom_files(folder, SLICES, f"{prefix}-{number}-") for number in range(count)]


def _rate(port: int, series: list[list[Path]]) -> float:
    os.sync()  # what was written before must not be on the way to the disk meanwhile
    with ThreadPoolExecutor(len(series)) as senders:
        begun = time.perf_counter()
        list(senders.map(partial(storescu, port, called="HEPAR"), series))
        return sum(map(len, series)) / (time.perf_counter() - begun)
