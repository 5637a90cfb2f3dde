"""`hepar demo`: run the whole way once, on a phantom or a series."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table
from rich.text import Text

from dicom_node.commands.arguments.options import Model, require_folder
from dicom_node.errors import BadConfiguration
from dicom_node.jobs.state import Job, State
from dicom_node.logs import quieten_libraries
from dicom_node.node.demo import Demonstration, demonstrate
from dicom_node.results.phantom import phantom_name, write_series
from dicom_node.results.preview import draw_seg
from dicom_node.retrieve.folder import discover
from engine.json_output import Json, print_json
from engine.phantom import make_phantom
from engine.quiet_logging import warnings_silenced

SHAPE, SPACING_MM, TUMOURS = (48, 512, 512), (5.0, 0.75, 0.75), 3


def demo(
    series: Annotated[
        Path | None,
        typer.Argument(
            metavar="[SERIES]", exists=True, help="Folder of a CT series; default: a phantom."
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the result.")
    ] = Path("demo"),
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Start a node, send it a CT series by C-STORE, and show the result.

    The node runs with its defaults and a data folder of its own, which is removed afterwards.
    """
    quieten_libraries()
    console = Console(stderr=as_json)
    require_folder(output)  # the node would wait for days until it can be written
    with (
        warnings_silenced(),  # the table says it all
        tempfile.TemporaryDirectory(prefix="hepar-phantom-") as made,
    ):
        paths = _series(series, console) if series else _phantom(Path(made), console)
        done = _demonstrate(paths, output, model)
        job = done.job
        if job.state is not State.DONE:
            if as_json:
                print_json(_to_values(done))
            console.print(f"{job.state}: {job.reason}", style="red", markup=False)
            raise typer.Exit(1)
        seg, picture = _files(job, paths, output)
    if as_json:
        files = {"seg": str(seg.resolve()), "picture": str(picture.resolve())}
        print_json(_to_values(done) | files)
    else:
        console.print(_table(done, seg, picture))


def _phantom(folder: Path, console: Console) -> list[Path]:
    console.print("Drawing a phantom …")
    made = make_phantom(0, shape=SHAPE, spacing_mm=SPACING_MM, tumours=TUMOURS)
    return write_series(made, phantom_name(0, SHAPE, SPACING_MM, TUMOURS), folder)


def _series(folder: Path, console: Console) -> list[Path]:
    """Return the instances of the largest series in a folder."""
    found = discover(folder).series
    if not found:
        raise BadConfiguration(f"no DICOM files in {folder}; name a folder that has some")
    uid = max(found, key=lambda each: len(found[each]))
    if len(found) > 1:
        console.print(f"{len(found)} series in {folder}; taking the largest, {uid}", markup=False)
    return list(found[uid])


def _demonstrate(paths: list[Path], output: Path, model: Path | None) -> Demonstration:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, TaskID] = {"start": progress.add_task("start", total=None)}

        def report(stage: str, done: int, of: int) -> None:
            if stage not in tasks:
                # A new stage ends those before it, whose last report may have been short of the
                # whole.
                for task in tasks.values():
                    progress.update(task, total=1, completed=1)
                tasks[stage] = progress.add_task(stage)
            progress.update(tasks[stage], completed=done, total=of)

        return demonstrate(paths, output, report, model=model)


def _files(job: Job, paths: list[Path], output: Path) -> tuple[Path, Path]:
    """Return the SEG, and a picture of it that is drawn here."""
    assert job.outcome is not None
    seg = output / f"{job.outcome.seg_uid}.dcm"
    picture = seg.with_suffix(".png")
    draw_seg(seg, paths).save(picture)
    return seg, picture


def _to_values(done: Demonstration) -> dict[str, object]:
    """Return what is printed as JSON, apart from the files."""
    job = done.job
    return {
        "state": job.state,
        "reason": job.reason,
        "millilitres": dict(job.outcome.millilitres) if job.outcome else {},
        "slices": job.outcome.slices if job.outcome else 0,
        "review": list(job.review),
        "seconds": done.seconds,
    }


def _table(done: Demonstration, seg: Path, picture: Path) -> Table:
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    assert done.job.outcome is not None
    for label, ml in done.job.outcome.millilitres.items():
        table.add_row(label, f"{ml:.1f} ml")
    table.add_row("slices", str(done.job.outcome.slices))
    if done.job.review:
        table.add_row("review", Text("; ".join(done.job.review), "yellow"))
    for stage, seconds in done.seconds.items():
        table.add_row(stage, f"{seconds:.2f} s")
    table.add_row("SEG", str(seg.resolve()))
    table.add_row("picture", str(picture.resolve()))
    return table
