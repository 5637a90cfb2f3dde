"""`hepar jobs list`: one line for each job."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from rich.console import Console, OverflowMethod
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dicom_node.jobs.state import Job, State

WIDE = 1000
"""Columns of a pipe or a file: nothing is cut there."""

GAP, NARROW = 2, 8
"""Spaces between columns, and the least that the last one has."""

COLOURS = {
    State.DONE: "green",
    State.FAILED: "red",
    State.REFUSED: "red",
    State.NOTHING_FOUND: "yellow",
    State.NOT_SELECTED: "yellow",
    State.SUPERSEDED: "bright_black",
    State.HELD: "bright_black",
    State.SEGMENTING: "cyan",
    State.DELIVERING: "cyan",
}


@dataclass(frozen=True)
class JobFilter:
    """Choice of jobs; every condition that is set must hold."""

    state: State | None = None
    peer: str = ""
    since: date | None = None
    """Day on which a job was created, at the earliest."""
    review: bool = False
    """Only results that a person should look at."""

    def matches(self, job: Job) -> bool:
        """Return whether a job is to be listed."""
        return (
            (self.state is None or job.state is self.state)
            and (not self.peer or any(each.peer == self.peer for each in job.deliveries))
            and (self.since is None or local(job.created).date() >= self.since)
            and (not self.review or bool(job.review))
        )


def print_jobs(jobs: Sequence[Job]) -> None:
    """Print a line for each job: cut to the width of a terminal, whole into a pipe or a file."""
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else WIDE)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    names = ["job", "state", "created", "slices", *([] if terminal else ["series"])]
    rows = [tuple(_cells(job, terminal=terminal)) for job in jobs]
    left = console.width
    for index, name in enumerate(names):
        cells = (name, *(row[index] for row in rows))
        width = max(Text.from_markup(cell).cell_len for cell in cells)
        table.add_column(name, no_wrap=True, width=width)
        left -= width + GAP
    # Its width is stated: Rich would cut every column by as much otherwise, states to nothing.
    overflow: OverflowMethod = "ellipsis" if terminal else "ignore"
    table.add_column("about", no_wrap=True, overflow=overflow, width=max(left, NARROW))
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _cells(job: Job, *, terminal: bool) -> Iterator[str]:
    yield job.id
    yield coloured(job.state) + (" urgent" if job.urgent and job.state.active else "")
    yield local(job.created).strftime("%m-%d %H:%M" if terminal else "%Y-%m-%d %H:%M:%S")
    yield str(len(job.paths))
    if not terminal:
        yield job.series_uid
    yield escape(about(job))


def about(job: Job) -> str:
    """Return the most important words on a job: why it failed, what to review, or the volumes."""
    volumes = job.outcome.millilitres if job.outcome else {}
    figures = ", ".join(f"{label} {ml:.0f} ml" for label, ml in volumes.items())
    review = f"review: {'; '.join(job.review)}" if job.review else ""
    return "; ".join(filter(None, (job.reason, review, figures)))


def coloured(state: State) -> str:
    """Return a state with its colour, as markup."""
    colour = COLOURS.get(state)
    return f"[{colour}]{state}[/{colour}]" if colour else str(state)


def local(moment: datetime) -> datetime:
    """Return a moment in the time zone of this machine."""
    return moment.astimezone()
