"""`hepar drain`: let a process of a cluster finish what it has, and take nothing new."""

import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import make_url

from dicom_node.cluster.draining import Drains, require_drainable
from dicom_node.cluster.membership import Duty, Membership, SeenMember
from dicom_node.cluster.tables import shared_tables
from dicom_node.commands.arguments.options import Config, settings
from dicom_node.config.cluster_section import Files
from dicom_node.config.settings import Settings
from dicom_node.data_folder import DataFolder
from dicom_node.errors import BadConfiguration
from engine.json_output import Json, print_json

LOOK_S = 0.5
"""Seconds between two looks at whether a process is drained."""


def drain(
    node: Annotated[
        str | None,
        typer.Argument(
            metavar="[NODE]",
            help="Name of a process, or ROLE-HOST for all of them; without it, all are listed.",
        ),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Let the process take work again.")] = False,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Wait until the process is drained.")
    ] = 0.0,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Let a gateway, a worker or a deliverer finish what it has, and take nothing new.

    A gateway rejects new associations, and its readiness check fails; a worker ends its series;
    a worker and a deliverer hand back the deliveries that pause. Then it is drained, and can be
    stopped without loss.
    ROLE-HOST (`receive-host`) names all processes of a role on a host. The exit status is 1 if one
    was not drained within `--wait`, or ended before; 2 if there is no such process.
    """
    chosen = settings(config)
    folder = _folder(chosen)
    with shared_tables(chosen.database_url) as engine:
        membership = Membership(engine, folder)
        if node is None:
            _print(membership.all(), as_json)
            return
        named = require_drainable(membership.all(), node)
        drains = Drains(engine, folder)
        for each in named:
            (drains.undo if undo else drains.ask)(each)
        found = _waited(membership, named, 0.0 if undo else wait)
    _print(found, as_json)
    if wait and not undo and [each.duty for each in found] != [Duty.DRAINED] * len(named):
        raise typer.Exit(1)


def _waited(membership: Membership, named: list[str], wait_s: float) -> list[SeenMember]:
    """Return processes as they are once they are drained, or have ended, or the time is over."""
    deadline = time.monotonic() + wait_s
    while True:
        found = [each for each in membership.all() if each.member.name in named]
        # One that ended before is not there, and what it had waits for a process of its name.
        done = all(each.duty is Duty.DRAINED for each in found)
        if done or time.monotonic() >= deadline:
            return found
        time.sleep(LOOK_S)


def _folder(chosen: Settings) -> str:
    """Return the name of the folder that a cluster shares, or its own where it shares none.

    Raises:
        BadConfiguration: there is no cluster.
    """
    if make_url(chosen.database_url).get_backend_name() != "postgresql":
        raise BadConfiguration(
            "there is no cluster to drain a process of, because the job store is an SQLite file;"
            " set HEPAR_JOBS__DATABASE to a postgresql:// address, or stop `hepar serve`"
        )
    if chosen.cluster.files is Files.FETCHED:
        return chosen.cluster.name
    if not (name := DataFolder(chosen.node.data).name):
        raise BadConfiguration(
            f"no cluster has started in {chosen.node.data}; set node.data to the folder that its"
            " processes share"
        )
    return name


def _print(found: list[SeenMember], as_json: bool) -> None:
    if as_json:
        print_json([_public(each) for each in found])
        return
    table = Table("process", "role", "host", "version", "alive", "state", box=None)
    for each in found:
        me = each.member
        seen = ("yes", each.duty) if each.alive else ("no", "")
        table.add_row(me.name, me.role, me.host, me.version, *seen)
    Console().print(table)


def _public(each: SeenMember) -> dict[str, Any]:
    me = each.member
    return {
        "name": me.name,
        "role": me.role,
        "host": me.host,
        "version": me.version,
        "alive": each.alive,
        "state": str(each.duty),
    }
