"""`hepar segment`: segment series of a folder or an archive, without a node."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from dicom_node.commands.arguments.archive import Choice, Since, Study, choose, say
from dicom_node.commands.arguments.options import Config, Model, require_folder, settings
from dicom_node.commands.arguments.peer_argument import peer_named
from dicom_node.config.settings import Settings
from dicom_node.error_location import unforeseen
from dicom_node.errors import BadConfiguration, NodeError, UnsupportedSeries
from dicom_node.logs import quieten_libraries
from dicom_node.node.startup import to_fleet
from dicom_node.node.warm_up import to_segmenter
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.pipeline.process import process
from dicom_node.pipeline.segmenter import SegmentationSetup
from dicom_node.results.objects import ObjectKind, ResultObject
from dicom_node.retrieve.folder import Discovery, discover
from dicom_node.retrieve.query import FoundSeries
from dicom_node.retrieve.source import Source, to_source
from engine.errors import EngineError


def segment(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the SEGs.")
    ],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", exists=True, help="Folder of DICOM files; or use --from."),
    ] = None,
    peer: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="PEER",
            help="Archive to read from, by WADO-RS or C-GET: a name in the configuration, or "
            "AET@HOST:PORT.",
        ),
    ] = "",
    study: Study = "",
    since: Since = "",
    derive_frame_of_reference: Annotated[
        bool,
        typer.Option(
            "--derive-frame-of-reference",
            help="Derive a missing frame of reference from the series UID. The SEG states it, but "
            "only some viewers will overlay it on the images.",
        ),
    ] = False,
    also: Annotated[
        list[ObjectKind] | None,
        typer.Option("--also", help="Further kind of object to write; may be repeated."),
    ] = None,
    config: Config = None,
    model: Model = None,
) -> None:
    """Write one SEG for every eligible CT series in FOLDER, and print why the others have none.

    With --from, the series come from an archive instead, one after the other. The exit status is 0
    when every eligible series was segmented.
    """
    quieten_libraries()
    chosen = settings(config, model)
    lots = _lots(folder, peer, (study, since), chosen)
    method = replace(
        to_segmenter(chosen, *to_fleet(chosen)).now(),
        items=frozenset(map(ResultObject, {ObjectKind.SEG, *(also or ())})),
        derive_frame_of_reference=derive_frame_of_reference,
    )
    require_folder(output)
    whole = [lot is not None and _segment_all(lot, output, method) for lot in lots]
    if not all(whole):
        raise typer.Exit(1)


def _lots(
    folder: Path | None, peer: str, studies: tuple[str, str], chosen: Settings
) -> Iterable[Discovery | None]:
    """Return the series to segment, in lots of which only one is on the disk at a time."""
    if peer and folder is None:
        source = to_source(peer_named(peer, chosen))
        choice = choose(source, *studies, chosen.select)
        return _fetched(source, choice)
    if folder is None or peer or any(studies):
        raise BadConfiguration(
            "name either a folder of DICOM files, or an archive: --from PEER and --study or --since"
        )
    found = discover(folder)
    if not found.series:
        raise BadConfiguration(f"no DICOM files in {folder}; name a folder that has some")
    return [found]


def _fetched(source: Source, choice: Choice) -> Iterator[Discovery | None]:
    """Yield each series while it lies in a temporary folder; None if it could not be fetched."""
    for uid, reason in choice.others.items():
        say(f"{uid}: not fetched: {reason}")
    for number, series in enumerate(choice.series, start=1):
        with TemporaryDirectory(prefix="hepar-") as name:
            try:
                _fetch(source, series, Path(name), f"fetching {number} of {len(choice.series)}")
            except NodeError as error:
                say(f"{series.series_uid}: failed: {error}")
                yield None
            else:
                yield discover(Path(name))


def _fetch(source: Source, series: FoundSeries, folder: Path, said: str) -> None:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(said, total=series.instances)
        source.fetch(series, folder, lambda count: progress.update(task, completed=count))


def _segment_all(found: Discovery, output: Path, method: SegmentationSetup) -> bool:
    """Segment the eligible series; return whether none failed."""
    errors = 0
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for uid, paths in found.series.items():
            task = progress.add_task(f"…{uid[-24:]}", total=None)
            try:
                outcome = _segment_one(uid, paths, output, method, progress, task)
                said = _said(outcome)
            except UnsupportedSeries as error:
                said = f"not segmented: {error}"
            except (NodeError, EngineError, OSError) as error:
                errors += 1
                said = f"failed: {error}"
            except Exception as error:  # the edge of this command: the other series go on
                errors += 1
                said = f"failed: {unforeseen(error)}"
            progress.remove_task(task)
            say(f"{uid}: {said}")
    for path, reason in found.others.items():
        say(f"{path}: {reason}")
    return errors == 0


def _segment_one(
    uid: str,
    paths: tuple[Path, ...],
    output: Path,
    method: SegmentationSetup,
    progress: Progress,
    task: TaskID,
) -> Outcome:
    def advance(done: int, of: int) -> None:
        progress.update(task, completed=done, total=of)

    return process(paths, output / f"{Path(uid).name}.dcm", method, series=uid, progress=advance)


def _said(outcome: Outcome) -> str:
    if outcome.verdict is not Verdict.SEGMENTED:
        return f"{outcome.verdict}: {outcome.reason}"
    volumes = ", ".join(f"{label} {ml:.1f} ml" for label, ml in outcome.millilitres.items())
    review = f"; review: {', '.join(outcome.review)}" if outcome.review else ""
    return f"{outcome.seg} ({volumes}, {sum(outcome.seconds.values()):.1f} s){review}"
