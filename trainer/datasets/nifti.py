"""Volumes and labels in NIfTI: LiTS, the Medical Segmentation Decathlon's Task03, and likewise.

LiTS has `volume-N.nii` and `segmentation-N.nii` in one folder or two; the Decathlon a
`dataset.json` that names the pairs. Both label the liver 1 and tumours 2. Headers of LiTS often
say nothing of the orientation that can be relied on; what they say is taken, and
`hepar dataset check` tells of livers on the wrong side.
"""

import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from engine.volume import Geometry, Volume
from trainer.datasets.case import Case
from trainer.datasets.found import Found
from trainer.datasets.names import lits_patient
from trainer.datasets.target import Target
from trainer.errors import BadCase

LITS = "LiTS"
DECATHLON = "MSD Task03"

TOLERANCE_MM = 0.1
"""How far labels may lie from their volume; headers round."""

LOST_SPACING = (1.0, 1.0, 1.0)
"""What LiTS says of the volumes whose spacing it lost."""

HU_RANGE = (-1024, 3071)
"""What 12-bit CT can say; padding below becomes air, as in the node."""


def find_lits(files: Sequence[Path]) -> Iterator[Found]:
    """Yield every volume that has a segmentation of the same number."""
    labels = {number: path for path in files if (number := _number("segmentation", path))}
    for path in files:
        if number := _number("volume", path):
            read = partial(_read_lits, path, labels.get(number), int(number))
            yield Found(LITS, f"volume {number}", path, read)


def find_decathlon(files: Sequence[Path]) -> Iterator[Found]:
    """Yield every training pair that a `dataset.json` of the Decathlon's liver task names."""
    for path in files:
        if path.name == "dataset.json":
            for pair in _pairs(path):
                image, label = (path.parent / pair[key] for key in ("image", "label"))
                yield Found(DECATHLON, image.name, image, partial(_read_decathlon, image, label))


def read_pair(image: Path, label: Path, *, source: str, patient: str, series: str) -> Case:
    """Read a volume and its labels, turned to the head, the back and the left.

    Raises:
        BadCase: a file cannot be read, or the labels are no labels or lie on another grid.
    """
    name = f"{source} {series}"
    volume, drawn = read_image(image, name), read_image(label, name)
    if volume.GetSize() != drawn.GetSize():
        raise BadCase(f"{name}: labels of {drawn.GetSize()} on a volume of {volume.GetSize()}")
    off_mm = np.abs(affine_of(volume) - affine_of(drawn)).max()
    if off_mm > TOLERANCE_MM:
        raise BadCase(
            f"{name}: the headers of volume and labels differ by {off_mm:.2f} mm; give them one"
        )
    lost = bool(np.allclose(volume.GetSpacing(), LOST_SPACING))
    found, target = to_volume(volume), to_labels(drawn, name)
    return Case(patient, source, series, found, target, spacing_lost=lost)


def read_image(path: Path, name: str) -> SimpleITK.Image:
    """Read an image and turn it to run to the patient's left, back and head.

    Raises:
        BadCase: the file is absent, or is no image.
    """
    try:
        _check_whole(path)
        image: SimpleITK.Image = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(path)), "LPS")
    except (RuntimeError, OSError, EOFError, ImageFileError, zlib.error) as error:
        reason = str(error).strip().splitlines()[-1]
        raise BadCase(f"{name}: {path} cannot be read: {reason}") from error
    return image


def _check_whole(path: Path) -> None:
    """Read a file to its end, checksum and all: ITK takes half of one without a word.

    Raises:
        OSError, EOFError, ImageFileError, zlib.error: it is absent, broken, or breaks off.
    """
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            size = sum(iter(lambda: len(file.read(1 << 24)), 0))
    else:
        size = path.stat().st_size
    header = nibabel.Nifti1Image.from_filename(path).header
    voxel = header.get_data_dtype().itemsize
    needed = int(header["vox_offset"]) + voxel * math.prod(header.get_data_shape())
    if size < needed:
        raise EOFError(f"it has {size} bytes and should have {needed}; download it again")


def to_volume(image: SimpleITK.Image) -> Volume:
    """Return an image that runs to the left, the back and the head as a volume in HU."""
    array = SimpleITK.GetArrayFromImage(image)
    hu = np.rint(np.clip(array, *HU_RANGE)).astype(np.int16)
    return Volume(hu, Geometry(hu.shape, affine_of(image), ""))


def to_labels(image: SimpleITK.Image, name: str) -> NDArray[np.uint8]:
    """Return labels, 0 to 2.

    Raises:
        BadCase: there are other values.
    """
    array = SimpleITK.GetArrayFromImage(image)
    values = np.unique(array)
    if not set(values.tolist()) <= {Target.BACKGROUND, Target.LIVER, Target.TUMOUR}:
        raise BadCase(f"{name}: labels are {values[:6].tolist()}; 0, 1 and 2 are expected")
    return array.astype(np.uint8)


def _read_lits(volume: Path, labels: Path | None, number: int) -> Case:
    if labels is None:
        raise BadCase(f"LiTS volume {number} has no segmentation-{number}.nii beside it")
    return read_pair(
        volume, labels, source=LITS, patient=lits_patient(number), series=f"volume {number}"
    )


def _read_decathlon(image: Path, label: Path) -> Case:
    series = image.name.removesuffix(".gz").removesuffix(".nii")
    number = re.fullmatch(r"liver_(\d+)", series)
    patient = lits_patient(int(number[1])) if number else series
    return read_pair(image, label, source=DECATHLON, patient=patient, series=series)


def _pairs(path: Path) -> list[dict[str, str]]:
    try:
        content = json.loads(path.read_text())
        pairs = [each for each in content["training"] if {"image", "label"} <= set(each)]
    except (ValueError, KeyError, TypeError):
        return []  # another program's dataset.json
    return pairs if "iver" in str(content.get("name", "")) else []


def _number(word: str, path: Path) -> str | None:
    found = re.fullmatch(rf"{word}-(\d+)\.nii(\.gz)?", path.name)
    return found[1] if found else None


def affine_of(image: SimpleITK.Image) -> NDArray[np.float64]:
    """Voxel (slice, row, column) to millimetres."""
    affine = np.eye(4)
    direction = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    affine[:3, :3] = direction[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return affine
