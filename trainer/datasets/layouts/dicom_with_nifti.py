"""A DICOM series in the folder `dicom`, its labels in NIfTI beside it.

`liver.nii.gz` is the liver, its tumours included; `tumour.nii.gz`, where it is there, those. Where
it is not, tumours were not looked for.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dicom_node.series import UnsupportedSeries, read_series, to_volume
from engine.volume import Geometry
from trainer.datasets.cases.case import Case
from trainer.datasets.cases.target import Target
from trainer.datasets.layouts.found import Found, is_visible
from trainer.datasets.layouts.nifti_image import (
    TOLERANCE_MM,
    affine_of,
    offset_mm,
    read_image,
)
from trainer.errors import BadCase

if TYPE_CHECKING:
    import SimpleITK

BESIDE = "DICOM with NIfTI"
IMAGES = "dicom"
LIVER, TUMOUR = ("liver.nii.gz", "liver.nii"), ("tumour.nii.gz", "tumour.nii")


def find_beside(files: Sequence[Path]) -> Iterator[Found]:
    """Yield every folder with a series in `dicom` and a liver beside it."""
    for path in files:
        if path.name in LIVER and (path.parent / IMAGES).is_dir():
            folder = path.parent
            yield Found(BESIDE, folder.name, folder, partial(_read, folder))


def _read(folder: Path) -> Case:
    name = folder.name
    images = sorted(path for path in (folder / IMAGES).iterdir() if is_visible(path))
    try:
        volume = to_volume(read_series(images, derive_frame_of_reference=True))
    except UnsupportedSeries as error:
        raise BadCase(f"{name}: {error}") from error
    liver, tumour = (_drawn(folder, names, volume.geometry) for names in (LIVER, TUMOUR))
    assert liver is not None  # it was found
    target = liver * np.uint8(Target.LIVER if tumour is not None else Target.LIVER_OR_TUMOUR)
    if tumour is not None:
        target[tumour > 0] = Target.TUMOUR
    return Case(name, BESIDE, name, volume, target)


def _drawn(folder: Path, names: Sequence[str], grid: Geometry) -> NDArray[np.uint8] | None:
    for name in names:
        if (folder / name).is_file():
            image = read_image(folder / name, folder.name)
            return _on_grid(image, grid, f"{folder.name}/{name}")
    return None


def _on_grid(image: "SimpleITK.Image", grid: Geometry, name: str) -> NDArray[np.uint8]:
    import SimpleITK  # a large library, absent on a machine with packed slices only

    marked = np.asarray(SimpleITK.GetArrayFromImage(image) > 0, np.uint8)
    if marked.shape != grid.shape:
        raise BadCase(f"{name}: labels of {marked.shape} on a series of {grid.shape}")
    off_mm = offset_mm(affine_of(image), grid.affine, grid.shape)
    if off_mm > TOLERANCE_MM:
        raise BadCase(f"{name}: labels lie {off_mm:.2f} mm beside the series; give them its grid")
    return marked
