"""Choice of series in an archive, shared by the commands that read from one."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated

import typer
from rich.console import Console

from dicom_node.errors import BadConfiguration
from dicom_node.retrieve.query import FoundSeries, StudyQuery, to_date
from dicom_node.retrieve.source import Source, find
from dicom_node.selection.rules import Rules
from dicom_node.selection.why_not import why_not_pull

Study = Annotated[str, typer.Option("--study", metavar="UID", help="Only this study.")]
Since = Annotated[
    str,
    typer.Option(
        "--since",
        metavar="DAY",
        help="Studies of this day and later: today, yesterday, 7d (days ago) or 2026-01-31.",
    ),
]


@dataclass(frozen=True)
class Choice:
    """Series of an archive, divided by the selection rules."""

    series: tuple[FoundSeries, ...]
    """Selected, as far as the archive's attributes show."""
    others: Mapping[str, str]
    """Series Instance UID of the others, with the rule that excludes each."""


def choose(source: Source, study: str, since: str, rules: Rules) -> Choice:
    """Query an archive for the series of a study, or of all studies since a day.

    Raises:
        BadConfiguration: neither was given, or there is no such study.
        PeerUnavailable, PeerRefused: the archive cannot be searched.
    """
    if not (study or since):
        raise BadConfiguration("no studies chosen; give --study UID, or --since yesterday")
    # Narrows the query where it can: a day of a whole archive. A study is shown with all its
    # series, and why not.
    modality = rules.modalities[0] if since and len(rules.modalities) == 1 else ""
    day = to_date(since, date.today()) if since else None
    found = find(source, StudyQuery(study, day, modality))
    if study and not found:
        raise BadConfiguration(f"{source.name} has no study {study}; see that the UID is right")
    if not found:
        # Not to standard output: a command may print JSON there.
        typer.echo(f"{source.name} has nothing since {day}", err=True)
    others = {each.series_uid: why_not_pull(each.header, rules) for each in found}
    return Choice(
        tuple(each for each in found if not others[each.series_uid]),
        {uid: reason for uid, reason in others.items() if reason},
    )


def say(text: str) -> None:
    """Print a line without wrapping it, above a progress bar if one is shown."""
    if sys.stdout.isatty():  # rich redirects it while a bar is shown, and prints above the bar
        sys.stdout.write(f"{text}\n")
    else:
        Console(soft_wrap=True).print(text, markup=False, highlight=False)
