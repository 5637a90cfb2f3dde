"""`hepar jobs`: list jobs, and put them back to work."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from dicom_node.audit.trail import auditing_command
from dicom_node.commands.arguments.options import Config, settings
from dicom_node.commands.job_views.job_answers import act_and_print
from dicom_node.commands.job_views.job_details import details, progress
from dicom_node.commands.job_views.job_list import JobFilter, print_jobs
from dicom_node.config.settings import Settings
from dicom_node.corrections.register import CorrectionRegister
from dicom_node.counted import counted
from dicom_node.data_folder import DataFolder
from dicom_node.errors import BadConfiguration
from dicom_node.job_actions import actions, newer_steps
from dicom_node.jobs.ledger import Ledger, open_ledger
from dicom_node.jobs.state import Job, State
from dicom_node.jobs.viewer_link import viewer_link
from dicom_node.receive.spool import Spool
from dicom_node.retrieve.query import to_date
from dicom_node.shadow.work_register import WorkRegister
from engine.json_output import Json, print_json

app = typer.Typer(
    help="List what became of each series, and put jobs back to work.", no_args_is_help=True
)
Name = Annotated[
    str, typer.Argument(metavar="JOB", help="ID of a job, or the beginning of it; or a series UID.")
]
Names = Annotated[
    list[str], typer.Argument(metavar="JOB…", help="IDs of jobs, or the beginnings of them.")
]


@app.command("list")
def list_(
    config: Config = None,
    last: Annotated[int, typer.Option(min=1, help="Number of the newest jobs to look at.")] = 50,
    state: Annotated[State | None, typer.Option(help="Only jobs in this state.")] = None,
    peer: Annotated[str, typer.Option(help="Only jobs with results for this peer.")] = "",
    since: Annotated[
        str, typer.Option(metavar="DAY", help="Only jobs since: today, 7d (days ago) or a date.")
    ] = "",
    review: Annotated[
        bool, typer.Option("--review", help="Only results that a person should look at.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the newest jobs, one line each, the latest at the bottom."""
    chosen = settings(config)
    day = to_date(since, date.today()) if since else None
    wanted = JobFilter(state, peer, day, review)
    with open_ledger(chosen.database_url) as ledger:
        newest = ledger.jobs(last)
        waiting = newer_steps.waiting(chosen, ledger)
    jobs = [job for job in newest if wanted.matches(job)]
    if as_json:
        print_json([_public(job, chosen) for job in jobs])
    elif jobs:
        print_jobs(jobs)
    else:
        typer.echo(_why_none(len(newest), chosen), err=True)
    if waiting:
        typer.echo(waiting, err=True)


@app.command()
def show(job: Name, config: Config = None, as_json: Json = False) -> None:
    """Show all that is stored of one job."""
    chosen = settings(config)
    with open_ledger(chosen.database_url) as ledger:
        found = ledger.find(job)
        corrections = _register(chosen).of(found.id)
        if as_json:
            print_json(_public(found, chosen) | {"progress": _progress(found, ledger)})
            return
        shadows = WorkRegister(DataFolder(chosen.node.data).shadow).of(found.id)
        table = details(found, ledger, corrections, shadows)
    console = Console()
    console.print(table)
    if link := viewer_link(chosen.viewer.url, found.study_uid, found.outcome):
        console.print(link, soft_wrap=True, markup=False)  # not wrapped: to be clicked or copied


@app.command()
def retry(
    job: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB…]", help="Jobs to put back to work.")
    ] = None,
    config: Config = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="All jobs that failed or were refused.")
    ] = False,
    peer: Annotated[str, typer.Option(help="Only deliveries to this peer.")] = "",
    now: Annotated[
        bool, typer.Option("--now", help="Also end the pauses of deliveries that are under way.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Do everything again, though it is done.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Repeat what failed, was refused or made no result; what succeeded stays as it is.

    Once an archive accepts results again: `hepar jobs retry --failed --peer archive`.
    """
    chosen = settings(config)
    data = DataFolder(chosen.node.data)

    with open_ledger(chosen.database_url) as ledger:

        def act(each: Job) -> str:
            if again:
                return actions.redo(each, ledger, data)
            done = ", ".join(actions.retry(each, ledger, peer, now=now))
            # Of all that failed, those are not printed for which there was nothing to do.
            return done or ("" if failed else actions.nothing_to_do(each))

        act_and_print(_chosen(job or [], failed, now, ledger), act, as_json)


@app.command()
def redo(job: Names, config: Config = None, as_json: Json = False) -> None:
    """Segment series again and deliver the results again, though it is done."""
    chosen = settings(config)
    data = DataFolder(chosen.node.data)
    with open_ledger(chosen.database_url) as ledger:
        jobs = map(ledger.find, job)
        act_and_print(jobs, lambda each: actions.redo(each, ledger, data), as_json)


@app.command()
def send(
    job: Names,
    to: Annotated[
        str, typer.Option(help="Name of a peer in the configuration; all of them without it.")
    ] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Send the results of jobs again, or to a further peer, without segmenting again."""
    chosen = settings(config)
    if to and to not in chosen.destinations:
        known = ", ".join(chosen.destinations)
        raise BadConfiguration(f"no peer {to!r} in the configuration; known: {known}")
    profiles = {
        name: each.profile for name, each in chosen.destinations.items() if to in ("", name)
    }
    data = DataFolder(chosen.node.data)
    with open_ledger(chosen.database_url) as ledger:
        jobs = map(ledger.find, job)
        act_and_print(jobs, lambda each: actions.send(each, profiles, ledger, data), as_json)


@app.command()
def urge(job: Names, config: Config = None, as_json: Json = False) -> None:
    """Let waiting jobs go before all others; a series that is being segmented is finished first."""
    with open_ledger(settings(config).database_url) as ledger:
        act_and_print(map(ledger.find, job), lambda each: actions.urge(each, ledger), as_json)


@app.command()
def move(config: Config = None, as_json: Json = False) -> None:
    """Give jobs that wait for a worker of a newer release to those that run, as after a way back.

    Jobs of older releases need no command: newer workers take them once no older one takes work.
    """
    chosen = settings(config)
    with open_ledger(chosen.database_url) as ledger:
        moved = newer_steps.move(chosen, ledger)
    if as_json:
        print_json(moved)
        return
    for name in moved:
        typer.echo(f"{name}: moved")
    if not moved:
        typer.echo("nothing waits for a worker of a newer release", err=True)


@app.command()
def remove(job: Names, config: Config = None, as_json: Json = False) -> None:
    """Forget jobs that have ended, and remove the files that they keep in the spool."""
    chosen = settings(config)
    data = DataFolder(chosen.node.data)
    spool = Spool(data.spool)
    with (
        auditing_command(chosen.audit.destination, chosen.node.ae_title),
        open_ledger(chosen.database_url) as ledger,
    ):
        jobs = map(ledger.find, job)
        act_and_print(jobs, lambda each: actions.remove(each, ledger, spool, data), as_json)


@app.command()
def bundle(
    job: Name,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="ZIP", help="Default: JOB.zip.")
    ] = None,
    pixels: Annotated[
        bool,
        typer.Option("--with-pixels", help="Keep the patient's own pixels, which may show a face."),
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Pack a job for a maintainer: its headers without the patient, a phantom's pixels, its state.

    Look into the file before you pass it on.
    """
    from dicom_node.job_actions.job_bundle import write_bundle  # imports a phantom

    with open_ledger(settings(config).database_url) as ledger:
        found = ledger.find(job)
    target = output or Path(f"{found.id}.zip")

    def pack(each: Job) -> str:
        count = write_bundle(each, target, pixels=pixels)
        return f"{counted(count, 'instance')} in {target}"

    act_and_print([found], pack, as_json)


def _chosen(names: list[str], failed: bool, now: bool, ledger: Ledger) -> Iterable[Job]:
    """Return the jobs that are named, or all that failed, or all that wait.

    Raises:
        BadConfiguration: none of these was asked for.
    """
    if names:
        return [ledger.find(name) for name in names]
    if not (failed or now):
        raise BadConfiguration("name the jobs to retry, or give --failed or --now for all of them")
    states = {State.FAILED, State.REFUSED} if failed else set()
    states |= {State.DELIVERING} if now else set()
    return [job for job in ledger.jobs() if job.state in states]


def _why_none(looked_at: int, chosen: Settings) -> str:
    """Return why the list is empty; often it is another node's than the one that was meant."""
    if looked_at:
        return f"no job like that among the newest {looked_at}; --last looks at more of them"
    store = "the store of jobs.database" if chosen.jobs.database else f"{chosen.node.data}"
    return f"no jobs yet in {store}; --config names the configuration of the node that runs"


def _public(job: Job, chosen: Settings) -> dict[str, Any]:
    from dicom_node.web.job_view import to_public

    return to_public(job, chosen.viewer.url, _register(chosen).of(job.id))


def _register(chosen: Settings) -> CorrectionRegister:
    return CorrectionRegister(DataFolder(chosen.node.data).corrections)


def _progress(job: Job, ledger: Ledger) -> dict[str, str]:
    return {each.id: progress(each, ledger) for each in job.deliveries}
