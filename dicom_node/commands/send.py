"""`hepar send`: send a folder of DICOM to a peer."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from dicom_node.commands.options import Config, settings
from dicom_node.commands.peer_argument import peer_named
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.deliver.peer_interface import Peer
from dicom_node.errors import BadConfiguration
from dicom_node.retrieve.folder import discover


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
) -> None:
    """Send every DICOM file in FOLDER to PEER."""
    called = peer_named(peer, settings(config))
    paths = [path for paths in discover(folder).series.values() for path in paths]
    if not paths:
        raise BadConfiguration(f"no DICOM files in {folder}; name a folder that has some")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("sending", total=len(paths))
        _send(paths, called, lambda sent: progress.update(task, completed=sent))
    Console().print(f"{len(paths)} instances sent to {peer}", markup=False, highlight=False)


def _send(paths: list[Path], peer: Peer, progress: Callable[[int], None]) -> None:
    if isinstance(peer, StorePeer):  # one association for all
        peer.send_many(paths, progress)
        return
    for sent, path in enumerate(paths, start=1):
        peer.send(path)
        progress(sent)
