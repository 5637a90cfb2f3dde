"""`hepar segment`: segment a folder of DICOM without a server."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from dicom_node.commands.options import Config, Model, settings
from dicom_node.discovery import Discovery, discover
from dicom_node.errors import BadConfiguration, NodeError, UnsupportedSeries
from dicom_node.logs import quieten_libraries
from dicom_node.method import to_method
from dicom_node.outcome import Outcome, Verdict
from dicom_node.pipeline import Method, process
from engine.errors import EngineError


def segment(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", exists=True, help="Folder of DICOM files.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where the SEGs go.")
    ],
    derive_frame_of_reference: Annotated[
        bool,
        typer.Option(
            "--derive-frame-of-reference",
            help="Give a series without a frame of reference one made from its UID. The SEG says "
            "so, but only some viewers will lay it over the images.",
        ),
    ] = False,
    config: Config = None,
    model: Model = None,
) -> None:
    """Write one SEG for every eligible CT series in FOLDER, and say why not for the others.

    The exit status is 0 when every eligible series was segmented.
    """
    quieten_libraries()
    found = discover(folder)
    if not found.series:
        raise BadConfiguration(f"no DICOM files in {folder}; name a folder that has some")
    chosen = settings(config, model)
    method = replace(to_method(chosen), derive_frame_of_reference=derive_frame_of_reference)
    output.mkdir(parents=True, exist_ok=True)
    if not _segment_all(found, output, method):
        raise typer.Exit(1)


def _segment_all(found: Discovery, output: Path, method: Method) -> bool:
    """Segment what is eligible; return whether nothing failed."""
    console, errors = Console(soft_wrap=True), 0
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for uid, paths in found.series.items():
            task = progress.add_task(f"…{uid[-24:]}", total=None)
            try:
                outcome = _segment_one(uid, paths, output, method, progress, task)
                said = _said(outcome)
            except UnsupportedSeries as error:
                said = f"not segmented: {error}"
            except (NodeError, EngineError) as error:
                errors += 1
                said = f"failed: {error}"
            progress.remove_task(task)
            console.print(f"{uid}: {said}", markup=False, highlight=False)
    for path, reason in found.others.items():
        console.print(f"{path}: {reason}", markup=False, highlight=False)
    return errors == 0


def _segment_one(
    uid: str,
    paths: tuple[Path, ...],
    output: Path,
    method: Method,
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
    return f"{outcome.seg} ({volumes}, {sum(outcome.seconds.values()):.1f} s)"
