"""`hepar jobs`: what became of each series."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from dicom_node.commands.options import Config, settings
from dicom_node.data_folder import DataFolder
from dicom_node.jobs.cleanup import discard
from dicom_node.jobs.ledger import Ledger, open_ledger
from dicom_node.jobs.state import Delivery, Job, State
from dicom_node.jobs.viewer_link import viewer_link
from dicom_node.receive.spool import Spool

app = typer.Typer(
    help="See what became of each series, and try again what failed.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(metavar="JOB", help="Job, or the beginning of its name.")]

WIDE = 1000
"""Columns of a pipe or a file: a line for each job, with all of its UIDs."""

COLUMNS = ("state", "created", "slices", "series", "reason", "review")
COLOURS = {
    State.DONE: "green",
    State.FAILED: "red",
    State.SKIPPED: "yellow",
    State.SEGMENTING: "cyan",
    State.DELIVERING: "cyan",
}


@app.command("list")
def list_(
    config: Config = None,
    last: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 50,
    review: Annotated[
        bool, typer.Option("--review", help="Of these, only results that a person should look at.")
    ] = False,
) -> None:
    """List the newest jobs, the latest at the bottom."""
    with open_ledger(settings(config).database_url) as ledger:
        jobs = ledger.jobs(last)
    whole = (Column(name, overflow="fold") for name in COLUMNS)
    table = Table(Column("job", no_wrap=True), *whole, box=None)
    for job in jobs:
        if review and not job.review:
            continue
        table.add_row(
            job.id,
            _coloured(job.state) + (" urgent" if job.urgent and job.state.active else ""),
            job.created.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            str(len(job.paths)),
            job.series_uid,
            escape(job.reason),
            f"[yellow]{'; '.join(job.review)}[/yellow]" if job.review else "",
        )
    terminal = sys.stdout.isatty()
    Console(width=None if terminal else WIDE).print(table)


@app.command()
def show(job: Name, config: Config = None) -> None:
    """Show all that is known of one job."""
    chosen = settings(config)
    with open_ledger(chosen.database_url) as ledger:
        found = ledger.find(job)
        details = _details(found, ledger)
    console = Console()
    console.print(details)
    if link := viewer_link(chosen.viewer.url, found.study_uid, found.outcome):
        console.print(link, soft_wrap=True, markup=False)  # whole, to be clicked or copied


@app.command()
def retry(
    job: Annotated[list[str], typer.Argument(metavar="JOB…", help="Jobs to put back to work.")],
    config: Config = None,
) -> None:
    """Do again what failed, or was skipped, in these jobs; what succeeded is not repeated."""
    console = Console()
    with open_ledger(settings(config).database_url) as ledger:
        for each in (ledger.find(name) for name in job):
            done = ", ".join(ledger.retry(each)) or f"nothing to do, it is {each.state}"
            console.print(f"{each.id}: {done}", markup=False, highlight=False)


@app.command()
def urge(
    job: Annotated[list[str], typer.Argument(metavar="JOB…", help="Jobs to do first.")],
    config: Config = None,
) -> None:
    """Let waiting jobs go before all others, without waiting for what is being computed."""
    console = Console()
    with open_ledger(settings(config).database_url) as ledger:
        for each in (ledger.find(name) for name in job):
            said = "urgent now" if ledger.urge(each) else f"nothing to do, it is {_words(each)}"
            console.print(f"{each.id}: {said}", markup=False, highlight=False)


@app.command()
def remove(
    job: Annotated[list[str], typer.Argument(metavar="JOB…", help="Jobs to forget.")],
    config: Config = None,
) -> None:
    """Forget jobs that have ended, and remove the files they keep in the spool."""
    chosen, console = settings(config), Console()
    data = DataFolder(chosen.node.data)
    with open_ledger(chosen.database_url) as ledger:
        for each in (ledger.find(name) for name in job):
            if each.state.active:
                said = f"not removed, it is {each.state}"
            else:
                discard(each, ledger, Spool(data.spool), data)
                said = "removed"
            console.print(f"{each.id}: {said}", markup=False, highlight=False)


def _words(job: Job) -> str:
    return f"{job.state} and urgent already" if job.urgent else str(job.state)


def _details(job: Job, ledger: Ledger) -> Table:
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("job", job.id)
    table.add_row("state", _coloured(job.state))
    if job.reason:
        table.add_row("reason", escape(job.reason))
    table.add_row("series", job.series_uid)
    table.add_row("study", job.study_uid)
    table.add_row("slices", str(len(job.paths)))
    table.add_row("created", job.created.astimezone().isoformat(" ", "seconds"))
    if job.outcome and job.outcome.seg:
        table.add_row("SEG", str(job.outcome.seg))
        for label, ml in job.outcome.millilitres.items():
            table.add_row(label, f"{ml:.1f} ml, members agree {job.outcome.agreement[label]:.2f}")
        if job.review:
            table.add_row("review", f"[yellow]{'; '.join(job.review)}[/yellow]")
        for stage, seconds in job.outcome.seconds.items():
            table.add_row(stage, f"{seconds:.2f} s")
    for delivery in job.deliveries:
        table.add_row(
            f"to {delivery.to}",
            f"{_coloured(delivery.state)} {escape(_about(delivery, ledger))}",
        )
    return table


def _about(delivery: Delivery, ledger: Ledger) -> str:
    """Say how a delivery was confirmed, or why it was not."""
    if delivery.state is State.DONE:
        return f"confirmed by {delivery.confirmed}" if delivery.confirmed else ""
    return delivery.reason or ledger.last_refusal(delivery)


def _coloured(state: State) -> str:
    colour = COLOURS.get(state)
    return f"[{colour}]{state}[/{colour}]" if colour else str(state)
