"""`python -m tests.benchmarks.simulation`: print the tables of docs/scale.md."""

import os
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from tests.benchmarks.simulation.model import Costs, Load, busiest_hour
from tests.benchmarks.simulation.scenarios import (
    GROUP,
    KEEP_DAYS,
    NATION,
    PASSES,
    SLICE_MB,
    WITH_GPU,
    WITHOUT,
    Sized,
    local,
    sized,
)
from tests.benchmarks.workers import FIGURES

SCENARIOS = (
    ("group, GPU", GROUP, WITH_GPU, 4 * 3600.0),
    ("group, processors", GROUP, WITHOUT, 4 * 3600.0),
    ("nation, GPU", NATION, WITH_GPU, 600.0),
)
"""Name, load, costs, and the time that is simulated at the rate of the busiest hour."""


def main() -> None:
    """Size each cluster, then let ten times as much come."""
    console = Console(width=160)
    if FIGURES.exists():
        console.print(_local())
    else:
        console.print(f"no {FIGURES}: run `python -m tests.benchmarks.bench workers` first")
    sizes, tenfold = _sizes(), _tenfold()
    for name, load, costs, seconds in SCENARIOS:
        found = sized(load, costs, seconds)
        _add_size(sizes, name, load, found)
        _add_tenfold(tenfold, name, load, costs, found, seconds)
    console.print(sizes, tenfold)


def _local() -> Table:
    table = Table("workers", "measured, series/s", "simulated", "difference", box=None)
    for each in local(FIGURES, os.cpu_count() or 1):
        difference = each.simulated / each.measured - 1
        table.add_row(
            str(each.workers),
            f"{each.measured:.3f}",
            f"{each.simulated:.3f}",
            f"{difference:+.0%}",
        )
    return table


def _sizes() -> Table:
    return Table(
        *("cluster", "series/h at peak", "gateways", "workers", "PostgreSQL, cores"),
        *("p50", "p95", "p99", "urgent p95", "spool, TB", "network, Gbit/s"),
        box=None,
    )


def _add_size(table: Table, name: str, load: Load, found: Sized) -> None:
    mean_mb = load.mean_slices * SLICE_MB
    plant, outcome = found.plant, found.outcome
    table.add_row(
        name,
        f"{3600 * load.peak_per_s:.0f}",
        str(plant.gateways),
        str(plant.workers),
        str(plant.store_cores),
        *(f"{each:.1f}" for each in outcome.percentiles()),
        f"{outcome.percentiles(urgent=True)[1]:.1f}",
        f"{load.per_day * KEEP_DAYS * mean_mb / 1e6:.1f}",
        f"{load.peak_per_s * PASSES * mean_mb * 8 / 1000:.2f}",
    )


def _tenfold() -> Table:
    return Table(
        *("ten times as much", "gateways", "processors of workers", "GPUs", "PostgreSQL"),
        *("p50", "p95"),
        box=None,
    )


def _add_tenfold(
    table: Table, name: str, load: Load, costs: Costs, found: Sized, seconds: float
) -> None:
    more = replace(load, per_day=10 * load.per_day)
    outcome = busiest_hour(more, found.plant, costs, seconds=seconds / 10)
    p50, p95, _ = outcome.percentiles()
    table.add_row(
        name, *(f"{each:.0%}" for each in outcome.use.values()), f"{p50:.0f}", f"{p95:.0f}"
    )


if __name__ == "__main__":
    main()
