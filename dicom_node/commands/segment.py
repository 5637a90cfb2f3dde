"""`hepar segment`: segment a folder, an archive's series or a NIfTI file, without a node."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
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
from dicom_node.nifti.image import is_nifti, stem_of
from dicom_node.node.startup import to_fleet
from dicom_node.node.warm_up import to_segmenter
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.pipeline.process import Origin, process
from dicom_node.pipeline.process_nifti import process_nifti
from dicom_node.pipeline.segmenter import SegmentationSetup
from dicom_node.pipeline.side_files import SideFile
from dicom_node.results.objects import ObjectKind, ResultObject
from dicom_node.retrieve.folder import Discovery, discover
from dicom_node.retrieve.query import FoundSeries
from dicom_node.retrieve.source import Source, to_source
from engine.errors import EngineError


def segment(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results.")
    ],
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="SOURCE",
            exists=True,
            help="Folder of DICOM files, or a NIfTI file (.nii, .nii.gz); or use --from.",
        ),
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
    preview: Annotated[
        bool, typer.Option("--preview", help="Write a PNG of the contours beside each result.")
    ] = False,
    statistics: Annotated[
        bool,
        typer.Option("--statistics", help="Write the figures beside each result, as JSON and CSV."),
    ] = False,
    config: Config = None,
    model: Model = None,
) -> None:
    """Segment every eligible CT series of a folder or an archive, or one NIfTI file.

    A series gets a DICOM SEG, SERIES-UID.dcm; a NIfTI file gets NAME_labels.nii.gz on its own grid,
    with 1 for liver and 2 for tumour. Without a result, the reason is printed. The exit status is 0
    when every eligible series was segmented.
    """
    quieten_libraries()
    chosen = settings(config, model)
    beside = {SideFile.PREVIEW: preview, SideFile.STATISTICS: statistics}
    # Before the model is loaded: a wrong argument shows at once.
    lots = _lots(source, peer, (study, since), chosen, also or [])
    method = replace(
        to_segmenter(chosen, *to_fleet(chosen, named=model)).now(),
        items=frozenset(map(ResultObject, {ObjectKind.SEG, *(also or ())})),
        derive_frame_of_reference=derive_frame_of_reference,
        beside=frozenset(kind for kind, wanted in beside.items() if wanted),
    )
    require_folder(output)
    origin = Origin()  # one for all, so that no two results of a study have one Series Number
    # A list, since `all` over a generator would stop at the first that failed.
    whole = [lot is not None and _segment_all(lot, output, method, origin) for lot in lots]
    if not all(whole):
        raise typer.Exit(1)


Lot = Discovery | Path
"""What lies on the disk at the same time: the series of a folder, or a NIfTI file."""


def _lots(
    source: Path | None,
    peer: str,
    studies: tuple[str, str],
    chosen: Settings,
    also: list[ObjectKind],
) -> Iterable[Lot | None]:
    """Return the series to segment, in lots of which only one is on the disk at a time."""
    if peer and source is None:
        archive = to_source(peer_named(peer, chosen))
        return _fetched(archive, choose(archive, *studies, chosen.select))
    if source is None or peer or any(studies):
        raise BadConfiguration(
            "name a folder of DICOM files, a NIfTI file, or an archive: --from PEER and --study or"
            " --since"
        )
    if source.is_dir():
        found = discover(source)
        if not found.series:
            raise BadConfiguration(f"no DICOM files in {source}; name a folder that has some")
        return [found]
    if not is_nifti(source):
        raise BadConfiguration(
            f"{source} is no folder and its name ends in neither .nii nor .nii.gz; name the folder"
            " of a DICOM series, or a NIfTI file"
        )
    if also:
        raise BadConfiguration("--also makes DICOM objects, for which a NIfTI file has no series")
    return [source]


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


@dataclass(frozen=True)
class _Task:
    """One series or file to segment."""

    name: str
    """As it is printed."""
    run: Callable[..., Outcome]
    """Takes `progress`."""
    must_succeed: bool
    """Whether a refusal counts as an error: the user named this very file."""


def _tasks(lot: Lot, output: Path, method: SegmentationSetup, origin: Origin) -> Iterator[_Task]:
    if isinstance(lot, Path):
        target = output / f"{stem_of(lot)}_labels.nii.gz"
        yield _Task(lot.name, partial(process_nifti, lot, target, method), True)
        return
    for uid, paths in lot.series.items():
        # The UID is text from a file, and might hold "../".
        target = output / f"{Path(uid).name}.dcm"
        work = partial(process, paths, target, method, series=uid, origin=origin)
        yield _Task(uid, work, False)


def _segment_all(lot: Lot, output: Path, method: SegmentationSetup, origin: Origin) -> bool:
    """Segment the eligible series; return whether none failed."""
    whole = True
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for task in _tasks(lot, output, method, origin):
            bar = progress.add_task(f"…{task.name[-24:]}", total=None)
            said, ended_well = _attempt(task, progress, bar)
            whole = whole and ended_well
            progress.remove_task(bar)
            say(f"{task.name}: {said}")
    for path, reason in lot.others.items() if isinstance(lot, Discovery) else ():
        say(f"{path}: {reason}")
    return whole


def _attempt(task: _Task, progress: Progress, bar: TaskID) -> tuple[str, bool]:
    """Return the line to print, and whether nothing went wrong."""

    def advance(done: int, of: int) -> None:
        progress.update(bar, completed=done, total=of)

    try:
        return _summary(task.run(progress=advance)), True
    except UnsupportedSeries as error:
        # A folder may hold localisers and whatever else; that is no failure of the command.
        return f"not segmented: {error}", not task.must_succeed
    except (NodeError, EngineError, OSError) as error:
        return f"failed: {error}", False
    except Exception as error:  # the edge of this command: the other series go on
        return f"failed: {unforeseen(error)}", False


def _summary(outcome: Outcome) -> str:
    if outcome.verdict is not Verdict.SEGMENTED:
        return f"{outcome.verdict}: {outcome.reason}"
    volumes = ", ".join(f"{label} {ml:.1f} ml" for label, ml in outcome.millilitres.items())
    review = f"; review: {', '.join(outcome.review)}" if outcome.review else ""
    return f"{outcome.seg} ({volumes}, {sum(outcome.seconds.values()):.1f} s){review}"
