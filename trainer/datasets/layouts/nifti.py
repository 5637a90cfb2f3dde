"""Volumes and labels in NIfTI: LiTS, the Medical Segmentation Decathlon's Task03, and likewise.

LiTS has `volume-N.nii` and `segmentation-N.nii` in one folder or two; the Decathlon `imagesTr` and
`labelsTr`, and a `dataset.json` that names the pairs. Both label the liver 1 and tumours 2. All may
be packed with gzip or not, whatever `dataset.json` says.

Some headers of LiTS are empty: those of volumes 28 to 47, whose size and orientation are lost,
and those of some segmentations, which lie on the voxels of their volumes all the same.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.volume import Geometry, Volume
from trainer.datasets.cases.case import Case
from trainer.datasets.cases.orientation import upright
from trainer.datasets.cases.target import Target
from trainer.datasets.layouts.found import Found
from trainer.datasets.layouts.nifti_image import (
    TOLERANCE_MM,
    affine_of,
    offset_mm,
    oriented,
    read_stored,
    says_nothing,
)
from trainer.datasets.layouts.patient_names import lits_patient
from trainer.errors import BadCase

if TYPE_CHECKING:
    import SimpleITK

LITS = "LiTS"
DECATHLON = "MSD Task03"

HU_RANGE = (-1024, 3071)
"""Range of 12-bit CT; padding below becomes air, as in the node."""


def find_lits(files: Sequence[Path]) -> Iterator[Found]:
    """Yield every volume that has a segmentation of the same number."""
    labels = {number: path for path in files if (number := _number("segmentation", path))}
    seen: set[tuple[Path, str]] = set()
    for path in files:
        number = _number("volume", path)
        if number and (path.parent, number) not in seen:  # packed and unpacked are one
            seen.add((path.parent, number))
            read = partial(_read_lits, path, labels.get(number), int(number))
            yield Found(LITS, f"volume {number}", path, read)


def find_decathlon(files: Sequence[Path]) -> Iterator[Found]:
    """Yield every training pair of the Decathlon's liver task.

    The pairs are those that `dataset.json` names; where there is none, those of one name.
    """
    named: set[Path] = set()
    for path in files:
        if path.name == "dataset.json":
            for pair in _pairs(path):
                image, label = (_at_hand(path.parent / pair[key]) for key in ("image", "label"))
                # Else the pairs of one name, below, would find these images again.
                named.add(image.parent)
                yield Found(DECATHLON, image.name, image, partial(_read_decathlon, image, label))
    for image in files:
        name = re.fullmatch(r"(liver_\d+)(_0000)?\.nii(\.gz)?", image.name, re.IGNORECASE)
        if name and image.parent.name.lower() == "imagestr" and image.parent not in named:
            label = _at_hand(_beside(image.parent) / f"{name[1]}.nii.gz")
            yield Found(DECATHLON, image.name, image, partial(_read_decathlon, image, label))


def _beside(images: Path) -> Path:
    """Return the folder of the labels, in capitals or not."""
    near = (each for each in images.parent.iterdir() if each.name.lower() == "labelstr")
    return next(near, images.parent / "labelsTr")


def _at_hand(path: Path) -> Path:
    """Return a file's path, or that of the same file packed otherwise if it is the one at hand."""
    plain = path.name.removesuffix(".gz")
    for name in (path.name, plain, f"{plain}.gz"):
        if path.with_name(name).is_file():
            return path.with_name(name)
    return path


def read_pair(
    image: Path,
    label: Path,
    *,
    source: str,
    patient: str,
    series: str,
    meaning: Callable[["SimpleITK.Image", str], NDArray[np.uint8]] | None = None,
) -> Case:
    """Read a volume and its labels, turned to the head, the back and the left.

    Args:
        image: the volume's file.
        label: that of its labels.
        source: the data set.
        patient: name of the patient.
        series: name of the volume.
        meaning: makes targets of the labels' values; by default liver 1 and tumour 2.

    Raises:
        BadCase: a file cannot be read, or the labels are no labels or lie on another grid.
    """
    name = f"{source} {series}"
    volume, drawn = read_stored(image, name), read_stored(label, name)
    # Before turning: where labels have no header, voxels correspond as they are stored.
    if says_nothing(drawn) and volume.GetSize() == drawn.GetSize():
        drawn.CopyInformation(volume)
    lost = says_nothing(volume)
    volume, drawn = oriented(volume), oriented(drawn)
    if volume.GetSize() != drawn.GetSize():
        raise BadCase(f"{name}: labels of {drawn.GetSize()} on a volume of {volume.GetSize()}")
    off_mm = offset_mm(affine_of(volume), affine_of(drawn), volume.GetSize()[::-1])
    if off_mm > TOLERANCE_MM:
        raise BadCase(
            f"{name}: the headers of volume and labels differ by {off_mm:.2f} mm; give them one"
        )
    found, target = to_volume(volume), (meaning or to_labels)(drawn, name)
    if lost:
        hu, target = upright(found.hu, target)
        found = Volume(hu, found.geometry)
    return Case(patient, source, series, found, target, spacing_lost=lost)


def to_volume(image: "SimpleITK.Image") -> Volume:
    """Return an image that runs to the left, the back and the head as a volume in HU."""
    import SimpleITK  # a large library, absent on a machine with packed slices only

    array = SimpleITK.GetArrayFromImage(image)
    # Clipped before the cast: floats beyond int16 would wrap around.
    hu = np.rint(np.clip(array, *HU_RANGE)).astype(np.int16)
    return Volume(hu, Geometry(hu.shape, affine_of(image), ""))


def to_labels(image: "SimpleITK.Image", name: str) -> NDArray[np.uint8]:
    """Return labels, 0 to 2.

    Raises:
        BadCase: there are other values.
    """
    import SimpleITK  # a large library, absent on a machine with packed slices only

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
    number = re.fullmatch(r"liver_(\d+)(_0000)?", series, re.IGNORECASE)
    patient = lits_patient(int(number[1])) if number else series
    return read_pair(image, label, source=DECATHLON, patient=patient, series=series)


def _pairs(path: Path) -> list[dict[str, str]]:
    try:
        content = json.loads(path.read_text())
        pairs = [each for each in content["training"] if {"image", "label"} <= set(each)]
    except (ValueError, KeyError, TypeError):
        return []  # another program's dataset.json
    # "Liver" or "liver": the Decathlon's other tasks lie in folders of the same layout.
    return pairs if "iver" in str(content.get("name", "")) else []


def _number(word: str, path: Path) -> str | None:
    found = re.fullmatch(rf"{word}-(\d+)\.nii(\.gz)?", path.name, re.IGNORECASE)
    return found[1] if found else None
