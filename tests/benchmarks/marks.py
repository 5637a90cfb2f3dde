"""One line of the table: what was promised and what was measured."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Mark:
    """A promise of docs/figures.md beside its measurement."""

    what: str
    promised: str
    measured: str
    met: bool | None
    """None where it could not be measured, and `measured` says why."""


def at_least(what: str, bound: float, value: float, detail: str = "") -> Mark:
    """A mark that is met by `bound` or more."""
    return Mark(what, f"{bound:g} or more", f"{value:.3g} {detail}".strip(), bool(value >= bound))


def at_most(what: str, bound: float, value: float, unit: str, detail: str = "") -> Mark:
    """A mark that is met by `bound` or less."""
    measured = f"{value:.3g} {unit} {detail}".strip()
    return Mark(what, f"{bound:g} {unit} or less", measured, bool(value <= bound))


def show(marks: Iterable[Mark]) -> None:
    """Print the marks as a table."""
    table = Table("what", "mark", "measured", "")
    signs = {True: "[green]met", False: "[red]missed", None: "[yellow]not measured"}
    for mark in marks:
        table.add_row(mark.what, mark.promised, mark.measured, signs[mark.met])
    Console().print(table)


def keep(marks: Iterable[Mark], file: Path) -> None:
    """Write the marks as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([asdict(mark) for mark in marks], indent=2))
