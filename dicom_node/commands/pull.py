"""`hepar pull`: send series from an archive to the running node."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TaskID, TimeRemainingColumn

from dicom_node.commands.arguments.archive import Choice, Since, Study, choose
from dicom_node.commands.arguments.options import Config, settings
from dicom_node.commands.arguments.peer_argument import peer_named
from dicom_node.commands.arguments.text_lines import say_unless
from dicom_node.config.own_receiver import own_receiver
from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.error_location import unforeseen
from dicom_node.errors import NodeError, PeerUnavailable
from dicom_node.logs import quieten_libraries
from dicom_node.retrieve.dimse import DimseSource
from dicom_node.retrieve.query import FoundSeries
from dicom_node.retrieve.source import Source, to_source
from engine.json_output import Json, print_json


def pull(
    peer: Annotated[
        str,
        typer.Argument(
            metavar="PEER", help="Name of a peer in the configuration, or AET@HOST:PORT."
        ),
    ],
    study: Study = "",
    since: Since = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Bring series that PEER already has to the running node, which segments and delivers them.

    A DICOM archive sends them itself (C-MOVE), so it must know the node's AE title and address; a
    DICOMweb archive is read (WADO-RS). Series that `[select]` excludes are not pulled.
    """
    quieten_libraries()
    chosen = settings(config)
    source = to_source(peer_named(peer, chosen))
    choice = choose(source, study, since, chosen.select)
    node = _node(chosen)
    say = say_unless(as_json)
    failed = _pull_all(choice, source, node, say)
    pulled = [each.series_uid for each in choice.series if each.series_uid not in failed]
    if as_json:
        print_json({"pulled": pulled, "failed": failed, "others": dict(choice.others)})
    say(f"{len(pulled)} series pulled; `hepar jobs list` shows what becomes of them")
    if failed:
        raise typer.Exit(1)


def _node(chosen: Settings) -> StorePeer:
    """Return the running node as a peer."""
    peer = own_receiver(chosen)
    try:
        peer.echo()
    except PeerUnavailable as error:
        raise PeerUnavailable(f"{error}; start it with `hepar serve`") from error
    return peer


def _pull_all(
    choice: Choice, source: Source, node: StorePeer, say: Callable[[str], None]
) -> dict[str, str]:
    """Pull one series after the other; return those that failed, with the reason."""
    for uid, reason in choice.others.items():
        say(f"{uid}: not pulled: {reason}")
    failed: dict[str, str] = {}
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        whole = progress.add_task("series", total=len(choice.series))
        for series in choice.series:
            task = progress.add_task(f"…{series.series_uid[-24:]}", total=series.instances)

            # The default binds this round's task; a closure would see the last.
            def advance(count: int, task: TaskID = task) -> None:
                progress.update(task, completed=count)

            uid = series.series_uid
            try:
                _pull_one(series, source, node, advance)
            except NodeError as error:
                failed[uid] = str(error)
            except Exception as error:  # the edge of this command: the other series go on
                failed[uid] = unforeseen(error)
            progress.remove_task(task)
            progress.advance(whole)
            say(f"{uid}: failed: {failed[uid]}" if uid in failed else f"{uid}: pulled")
    return failed


def _pull_one(
    series: FoundSeries, source: Source, node: StorePeer, progress: Callable[[int], None]
) -> None:
    if isinstance(source, DimseSource):
        source.move(series, node.ae_title, progress)
        return
    with TemporaryDirectory(prefix="hepar-") as folder:
        source.fetch(series, Path(folder), progress)
        node.send_many(sorted(Path(folder).rglob("*.dcm")))
