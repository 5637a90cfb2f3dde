"""`hepar send`: send a folder of DICOM to a peer."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from dicom_node.commands.arguments.options import Config, settings
from dicom_node.commands.arguments.peer_argument import peer_named
from dicom_node.commands.arguments.text_lines import say_unless
from dicom_node.counted import counted
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.deliver.peer_interface import Peer
from dicom_node.errors import BadConfiguration, NodeError, PeerRefused
from dicom_node.retrieve.folder import discover
from engine.json_output import Json, print_json


def send(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", exists=True, help="Folder of DICOM files.")
    ],
    peer: Annotated[
        str,
        typer.Argument(
            metavar="PEER", help="Name of a peer in the configuration, or AET@HOST:PORT."
        ),
    ],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Send every DICOM file in FOLDER to PEER; a file that is refused holds up no other.

    The exit status is 1 if a file was not sent.
    """
    called = peer_named(peer, settings(config))
    paths = [path for paths in discover(folder).series.values() for path in paths]
    if not paths:
        raise BadConfiguration(f"no DICOM files in {folder}; name a folder that has some")
    say = say_unless(as_json)
    refused: dict[str, str] = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("sending", total=len(paths))
        for path, error in _send_each(paths, called):
            progress.advance(task)
            if error:
                refused[str(path)] = str(error)
                say(f"{path}: not sent: {error}")
    sent = len(paths) - len(refused)
    if as_json:
        print_json({"peer": peer, "sent": sent, "refused": refused})
    say(f"{counted(sent, 'instance')} sent to {peer}")
    if refused:
        say(f"{counted(len(refused), 'file')} not sent")
        raise typer.Exit(1)


def _send_each(paths: Sequence[Path], peer: Peer) -> Iterator[tuple[Path, NodeError | None]]:
    """Send each file and yield it with the error that it met, or None."""
    if isinstance(peer, StorePeer):  # one association for all
        yield from peer.send_each(paths)
        return
    for path in paths:
        try:
            peer.send(path)
        # PeerUnavailable ends the command: the next file would meet the same.
        except PeerRefused as error:
            yield path, error
        else:
            yield path, None
