"""Measure the marks: `make bench`, or `python -m tests.benchmarks.bench [NAME …]`."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from tests.benchmarks import (
    accuracy,
    engine_job,
    fusion,
    gpu,
    receive,
    speed,
    start,
    viewer,
    whole_way,
)
from tests.benchmarks.marks import Mark, keep, show
from tests.system.servers import missing_programs

RESULTS = Path("bench") / "marks.json"

MEASUREMENTS: dict[str, Callable[[Path], Iterator[Mark]]] = {
    "receive": receive.measure,
    "whole_way": whole_way.measure,
    "viewer": viewer.measure,
    "speed": speed.measure,
    "engine_job": engine_job.measure,
    "start": start.measure,
    "gpu": gpu.measure,
    "fusion": fusion.measure,
    "accuracy": accuracy.measure,
}
NEEDS_DEBIAN = {"receive", "whole_way", "start"}


def main() -> None:
    """Run the named measurements, or all, and print the table."""
    console = Console(stderr=True)
    marks: list[Mark] = []
    with tempfile.TemporaryDirectory(prefix="hepar-bench-") as folder:
        for name in sys.argv[1:] or MEASUREMENTS:
            with console.status(f"measuring {name} …"):
                marks += _measured(name, Path(folder))
    show(marks)
    keep(marks, RESULTS)


def _measured(name: str, folder: Path) -> list[Mark]:
    missing = missing_programs()
    if missing and name in NEEDS_DEBIAN:
        return [Mark(name, "", f"needs Debian's {', '.join(missing)}", None)]
    return list(MEASUREMENTS[name](folder))


if __name__ == "__main__":
    main()
