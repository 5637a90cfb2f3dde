"""`hepar phantom`: write a synthetic CT series with its true labels."""

from pathlib import Path
from typing import Annotated

import typer

from dicom_node.commands.arguments.options import require_folder
from dicom_node.counted import counted
from dicom_node.results.phantom import phantom_name, write_series, write_truth
from engine.phantom import make_phantom
from engine.volume import Label


def phantom(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Folder for the series; created if absent."),
    ],
    seed: Annotated[int, typer.Option(help="Seed of anatomy, tumours and noise.")] = 0,
    slices: Annotated[int, typer.Option(min=2, help="Number of slices.")] = 48,
    slice_mm: Annotated[float, typer.Option(min=0.1, help="Millimetres between slices.")] = 5.0,
    size: Annotated[int, typer.Option(min=16, help="Rows and columns of a slice.")] = 512,
    pixel_mm: Annotated[float, typer.Option(min=0.1, help="Millimetres between pixels.")] = 0.75,
    tumours: Annotated[int, typer.Option(min=0, help="Number of tumours in the liver.")] = 3,
) -> None:
    """Write an abdomen made of ellipsoids as a DICOM CT series, with its true labels.

    The series lies in FOLDER/ct, the truth in FOLDER/truth as a SEG and as NumPy arrays. The same
    options give the same voxels and the same UIDs.
    """
    require_folder(folder)
    shape, spacing_mm = (slices, size, size), (slice_mm, pixel_mm, pixel_mm)
    made = make_phantom(seed, shape=shape, spacing_mm=spacing_mm, tumours=tumours)
    name = phantom_name(seed, shape, spacing_mm, tumours)
    paths = write_series(made, name, folder / "ct")
    write_truth(made, name, folder / "truth")
    liver, tumour = (made.truth.millilitres(each) for each in (Label.LIVER, Label.TUMOUR))
    count = counted(len(paths), "slice")
    typer.echo(
        f"{count} in {folder / 'ct'}: liver {liver + tumour:.0f} ml, of it tumours"
        f" {tumour:.1f} ml; the true labels are in {folder / 'truth'}"
    )
