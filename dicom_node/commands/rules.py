"""`hepar rules try`: a dry run of the selection rules over an archive's headers."""

from collections import Counter
from datetime import date
from typing import Annotated

import typer
from pydicom import Dataset
from rich.console import Console
from rich.table import Table

from dicom_node.commands.arguments.archive import Since, Study, choose
from dicom_node.commands.arguments.options import Config, settings
from dicom_node.commands.arguments.peer_argument import peer_named
from dicom_node.counted import counted
from dicom_node.deliver.peer_interface import Peer
from dicom_node.logs import quieten_libraries
from dicom_node.retrieve.query import FoundSeries
from dicom_node.retrieve.source import to_source
from engine.json_output import Json, print_json

SECONDS_PER_SLICE = 0.35
"""Time that a slice takes on the two cores of a small server, when no other figure is given."""

app = typer.Typer(help="Try the selection rules of the configuration.", no_args_is_help=True)


@app.callback()
def rules() -> None:
    """Try the selection rules of the configuration."""


@app.command("try")
def try_(
    peer: Annotated[
        str,
        typer.Argument(
            metavar="PEER", help="Name of a peer in the configuration, or AET@HOST:PORT."
        ),
    ],
    study: Study = "",
    since: Since = "",
    seconds: Annotated[
        float, typer.Option(min=0, help="Seconds that one slice takes on this machine.")
    ] = SECONDS_PER_SLICE,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show which series of PEER the node would segment, why not the others, and the hours of load.

    Only headers are queried: nothing is fetched, and no image is looked at. Rules on attributes
    that the archive does not return, and the geometry, are checked when a series arrives.
    """
    quieten_libraries()
    chosen = settings(config)
    called: Peer = peer_named(peer, chosen)
    choice = choose(to_source(called), study, since, chosen.select)
    reasons = Counter(choice.others.values())
    slices = sum(each.instances or 0 for each in choice.series)
    uncounted = sum(each.instances is None for each in choice.series)
    work_s = slices * seconds
    if as_json:
        print_json(
            {
                "segmented": [_public(each) for each in choice.series],
                "others": dict(choice.others),
                "slices": slices,
                "hours": round(work_s / 3600, 2),
            }
        )
        return
    Console().print(_table(len(choice.series), reasons))
    days = _days(choice.series)
    text = f"{counted(slices, 'slice')}, {_duration(work_s)} of computing at {seconds:g} s a slice"
    text += f", {_duration(work_s / days)} a day" if days else ""
    text += f"; {uncounted} series without a count" if uncounted else ""
    typer.echo(text)
    if chosen.select.best_of_study:
        studies = len({each.study_uid for each in choice.series})
        typer.echo(f"select.best_of_study: of these, one for each study ({studies} of them)")


def _duration(seconds: float) -> str:
    """Return a time in the unit in which it is read best."""
    units = (3600, "h"), (60, "min")
    return next(
        (f"{seconds / s:.1f} {name}" for s, name in units if seconds >= s), f"{seconds:.0f} s"
    )


def _table(segmented: int, reasons: Counter[str]) -> Table:
    table = Table("series", "", box=None)
    table.add_row(str(segmented), "[green]would be segmented[/green]")
    for reason, count in reasons.most_common():
        table.add_row(str(count), f"not selected: {reason}")
    return table


def _public(series: FoundSeries) -> dict[str, object]:
    return {
        "study": series.study_uid,
        "series": series.series_uid,
        "description": str(series.header.get("SeriesDescription", "")),
        "slices": series.instances,
    }


def _days(series: tuple[FoundSeries, ...]) -> int:
    """Return the number of days on which the studies were made, as far as they are dated."""
    return len({day for each in series if (day := _day(each.header))})


def _day(header: Dataset) -> date | None:
    text = str(header.get("StudyDate") or "")
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return None
