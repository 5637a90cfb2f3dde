"""`hepar peers`: list the configured peers, and test whether they would take results."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from pydicom.uid import UID
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dicom_node.commands.arguments.options import Config, settings
from dicom_node.commands.arguments.peer_argument import ADDRESS, peer_named
from dicom_node.commands.synthetic.synthetic_objects import write_objects
from dicom_node.config.settings import Settings
from dicom_node.deliver.peer_check import PeerFinding, check_peer
from dicom_node.deliver.sop_reference import read_reference
from dicom_node.errors import BadConfiguration
from dicom_node.results.objects import Profile
from engine.json_output import Json, print_json

app = typer.Typer(help="List the configured peers, and test them.", no_args_is_help=True)


@app.command("list")
def list_(config: Config = None, as_json: Json = False) -> None:
    """List the peers in the configuration: what each gets, and where it is."""
    known = settings(config).destinations
    if as_json:
        print_json(
            {
                name: {"kind": peer.kind, "objects": peer.objects, "address": address(peer)}
                for name, peer in known.items()
            }
        )
        return
    table = Table("peer", "kind", "objects", "address", box=None)
    for name, peer in known.items():
        table.add_row(name, peer.kind, ", ".join(peer.objects), address(peer))
    Console().print(table)


@app.command("test")
def run_checks(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[PEER]",
            help="Name of a peer in the configuration, or AET@HOST:PORT; all of them without it.",
        ),
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Test whether peers answer, trust this node and accept its objects; nothing is sent.

    The exit status is 1 if a check failed.
    """
    chosen = settings(config)
    known = chosen.destinations
    if name and name not in known and not ADDRESS.fullmatch(name):
        raise BadConfiguration(
            f"no peer {name!r} in the configuration; known: {', '.join(known)}; name one of them,"
            " or AET@HOST:PORT"
        )
    found = {each: check(each, chosen) for each in ([name] if name else known)}
    if as_json:
        print_json({each: [vars(one) for one in findings] for each, findings in found.items()})
    else:
        Console().print(_table(found))
    if not all(each.passed for findings in found.values() for each in findings):
        raise typer.Exit(1)


def check(name: str, chosen: Settings) -> list[PeerFinding]:
    """Return the result of every check of one peer: a configured one, or one at an address."""
    configured = chosen.destinations.get(name)
    profile = configured.profile if configured else Profile()
    try:
        return list(check_peer(peer_named(name, chosen), _classes(profile)))
    except BadConfiguration as error:
        return [PeerFinding("configuration", False, str(error))]


def address(peer: object) -> str:
    """Return where a peer is, without secrets."""
    for keyword in ("url", "folder"):
        if value := getattr(peer, keyword, None):
            return str(value)
    title, host, port = (getattr(peer, each, "") for each in ("ae_title", "host", "port"))
    return f"{title}@{host}:{port}"


def _classes(profile: Profile) -> list[UID]:
    """Return the SOP classes of the objects that a peer is to get."""
    with TemporaryDirectory(prefix="hepar-") as folder:
        # Made, not listed: so what is tested is what would be sent.
        files = write_objects(Path(folder), profile.items)
        uids = {read_reference(file).sop_class_uid for file in files.values()}
    return sorted(map(UID, uids))


def _table(found: dict[str, list[PeerFinding]]) -> Table:
    table = Table("peer", "check", "", "", box=None)
    for name, findings in found.items():
        for each in findings:
            mark = Text("good", "green") if each.passed else Text("bad", "bold red")
            table.add_row(name, each.check, mark, Text(each.message))
    return table
