"""`hepar dataset check` and `hepar dataset pull`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trainer.complaints import errors_said

app = typer.Typer(no_args_is_help=True)


@app.callback()
def dataset() -> None:
    """Labelled data to learn from."""


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder with data sets as they were downloaded.")],
    sheet: Annotated[
        Path | None, typer.Option(help="PNG to draw a few slices of each into.")
    ] = None,
) -> None:
    """Show what a folder holds: counts, spacings, HU, volumes, duplicates and what is doubtful.

    Ends with 1 where a case is broken. Nothing is changed.
    """
    from trainer.datasets.checking import check as check_it

    with errors_said():
        checked = check_it(folder, sheet, Console())
    if checked.broken:
        raise typer.Exit(1)
