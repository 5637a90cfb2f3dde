"""Measure the marks: `make bench`, or `python -m tests.benchmarks.bench [NAME …]`."""

import sys
import tempfile
from importlib import import_module
from pathlib import Path

from rich.console import Console

from tests.benchmarks.marks import Mark, keep, show
from tests.system.servers import missing_programs

RESULTS = Path("bench") / "marks.json"

MEASUREMENTS = (
    "receive",
    "load",
    "end_to_end",
    "viewer",
    "speed",
    "engine_job",
    "stages",
    "workers",
    "backlog",
    "start",
    "gpu",
    "fusion",
    "feeding",
    "accuracy",
)
"""Modules of this folder with a function `measure`. Each is imported only when it runs: it needs
libraries that the others do not."""
NEEDS_DEBIAN = {"receive", "load", "end_to_end", "start"}


def main() -> None:
    """Run the named measurements, or all, and print the table."""
    if unknown := set(sys.argv[1:]) - set(MEASUREMENTS):
        sys.exit(f"unknown measurement {unknown.pop()!r}; allowed: {', '.join(MEASUREMENTS)}")
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
    return list(import_module(f"tests.benchmarks.{name}").measure(folder))


if __name__ == "__main__":
    main()
