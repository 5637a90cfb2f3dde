"""Measure the marks: `make bench`, or `python -m tests.benchmarks.bench [NAME …]`."""

import multiprocessing
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path

from rich.console import Console

from tests.benchmarks.marks import Mark, keep, show
from tests.system.servers import missing_programs

RESULTS = Path("bench") / "marks.json"

MEASUREMENTS = (
    "receive",
    "receivers",
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
NEEDS_DEBIAN = {"receive", "receivers", "load", "end_to_end", "start"}


def main() -> None:
    """Run the named measurements, or all, and print the table; exit with 1 if one failed."""
    if unknown := set(sys.argv[1:]) - set(MEASUREMENTS):
        sys.exit(f"unknown measurement {unknown.pop()!r}; allowed: {', '.join(MEASUREMENTS)}")
    console = Console(stderr=True)
    marks: list[Mark] = []
    failed = False
    with tempfile.TemporaryDirectory(prefix="hepar-bench-") as folder:
        for name in sys.argv[1:] or MEASUREMENTS:
            own = Path(folder, name)
            own.mkdir()
            try:
                with console.status(f"measuring {name} …"):
                    marks += _apart(_measured, name, own)
            # The edge of one measurement: the others are kept, and those that follow run.
            except Exception as error:
                console.print_exception()
                marks.append(Mark(name, "", f"failed: {type(error).__name__}", None))
                failed = True
    show(marks)
    keep(marks, RESULTS)
    sys.exit(failed)


def _apart(measured: Callable[[str, Path], list[Mark]], name: str, folder: Path) -> list[Mark]:
    """Measure in a process of its own: libraries of several measurements may not get along.

    Raises:
        BrokenProcessPool: the process died.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured, name, folder).result()


def _measured(name: str, folder: Path) -> list[Mark]:
    missing = missing_programs()
    if missing and name in NEEDS_DEBIAN:
        return [Mark(name, "", f"needs Debian's {', '.join(missing)}", None)]
    return list(import_module(f"tests.benchmarks.{name}").measure(folder))


if __name__ == "__main__":
    main()
