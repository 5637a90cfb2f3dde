"""`hepar dataset pull` with what it shows meanwhile."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from trainer.datasets.pull.archive import Archive
from trainer.datasets.pull.pull import Choice, Pulled, find_wanted, pull_one


def pull(
    archive: Archive, filters: dict[str, str], choice: Choice, folder: Path, console: Console
) -> list[Pulled]:
    """Pull what is wanted, show it as a table, and return what turned out to be of no use.

    Raises:
        ArchiveFailed: the archive does not answer; what was pulled is kept.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        looking = progress.add_task("looking at drawings", total=None)
        wanted = find_wanted(
            archive,
            filters,
            choice,
            lambda done, total: progress.update(looking, completed=done, total=total),
        )
        pulled = []
        for number, each in enumerate(wanted, start=1):
            task = progress.add_task(f"series {number} of {len(wanted)}", total=None)
            pulled.append(
                pull_one(
                    archive,
                    each,
                    folder,
                    lambda done, total, task=task: progress.update(  # type: ignore[misc]
                        task, completed=done, total=total
                    ),
                )
            )
            progress.remove_task(task)
    _show(pulled, folder, console)
    return [each for each in pulled if each.problem]


def _show(pulled: Sequence[Pulled], folder: Path, console: Console) -> None:
    table = Table("CT series", "Slices", "SEGs", "New files", "Corrects Hepar", "")
    for each in pulled:
        wanted = each.wanted
        table.add_row(
            wanted.images.series_uid,
            str(each.images),
            str(len(wanted.drawings)),
            str(each.fetched),
            "yes" if wanted.corrects_hepar else "no",
            f"left out: {each.problem}" if each.problem else "",
        )
    console.print(table)
    useful = sum(not each.problem for each in pulled)
    console.print(f"{useful} series with what persons drew in {folder}; look with dataset check")
