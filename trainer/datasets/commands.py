"""`hepar dataset check` and `hepar dataset pull`."""

import os
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from engine.json_output import Json, print_json
from trainer.cli_errors import errors_said

app = typer.Typer(no_args_is_help=True)


@app.callback()
def dataset() -> None:
    """Labelled data to learn from."""


@app.command()
def check(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            exists=True,
            help="Folder of data sets as they were downloaded, or one zip of 3D-IRCADb-01.",
        ),
    ],
    sheet: Annotated[
        Path | None, typer.Option(help="PNG to draw a few slices of each into.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what FOLDER holds: counts, spacings, HU, volumes, duplicates and what is doubtful.

    Ends with 1 where a case is broken. Nothing is changed.
    """
    from trainer.datasets.checks.check import check as check_it

    # Progress and remarks beside JSON would not be read as JSON.
    console = Console(stderr=as_json)
    with errors_said():
        checked = check_it(folder, sheet, console, quiet=as_json)
    if as_json:
        from trainer.datasets.checks.json_summary import to_json

        print_json(to_json(checked))
    if checked.broken:
        raise typer.Exit(1)


@app.command()
def pull(
    url: Annotated[
        str,
        typer.Argument(metavar="URL", help="DICOMweb root of the archive; /studies is added."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to pull into.")],
    since: Annotated[
        str | None, typer.Option(help="Studies from this day on, such as 2026-01-31.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="This study alone, by its UID.")] = None,
    corrections: Annotated[
        bool, typer.Option("--corrections", help="Only where Hepar had drawn before.")
    ] = False,
    label: Annotated[
        str | None, typer.Option(help="Take SEGs with this content label too, whoever drew.")
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="User; the password is HEPAR_ARCHIVE_PASSWORD.")
    ] = None,
) -> None:
    """Pull CT series on which a person has drawn or corrected the liver, with what was drawn.

    A SEG counts where a segment is MANUAL or SEMIAUTOMATIC; what Hepar or another machine drew by
    itself does not. Called again, it resumes and fetches what is new. The environment
    has the secrets: HEPAR_ARCHIVE_PASSWORD, or HEPAR_ARCHIVE_TOKEN for a bearer token.
    """
    from trainer.datasets.pull.archive import Archive
    from trainer.datasets.pull.pull import Choice
    from trainer.datasets.pull.session import pull as pull_it

    password, token = (os.environ.get(f"HEPAR_ARCHIVE_{each}") for each in ("PASSWORD", "TOKEN"))
    filters = {"StudyInstanceUID": study} if study else {}
    if since:
        filters["StudyDate"] = _from_day(since)
    with errors_said():
        archive = Archive(url, user, password, token)
        useless = pull_it(archive, filters, Choice(label, corrections), output, Console())
    if useless:
        raise typer.Exit(1)


def _from_day(text: str) -> str:
    """Return the range of days from `text` on, as DICOM writes it (PS3.4 C.2.2.2.5)."""
    try:
        return f"{date.fromisoformat(text):%Y%m%d}-"
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no day such as 2026-01-31") from error
