"""Pairs of volume and labels in NIfTI with any names and values, as `dataset.toml` states them.

Volumes and labels lie in two folders under the same names, or in one, where the labels' names end
in a word such as `_seg`. nnU-Net's `_0000` at the end of a volume's name is no part of it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dicom_node.series import UnsupportedSeries, read_series
from dicom_node.series import to_volume as series_to_volume
from trainer.datasets.cases.case import Case
from trainer.datasets.cases.dataset_file import DATASET, DatasetFile, Labels, read_dataset_file
from trainer.datasets.cases.target import Target
from trainer.datasets.layouts.found import Found, is_visible
from trainer.datasets.layouts.nifti import read_pair, to_volume
from trainer.datasets.layouts.nifti_image import read_image
from trainer.errors import BadCase, BadData

if TYPE_CHECKING:
    import SimpleITK

IMAGES = ("images", "imagestr", "image", "img", "ct", "scans", "volumes")
MASKS = ("labels", "labelstr", "label", "masks", "mask", "seg", "segmentations")
"""Folders of volumes and of their labels, in capitals or not, where `dataset.toml` names none."""

SCAN = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)

MASK = re.compile(r"(.+)[-_. ](?:seg|segmentation|mask|label|labels)", re.IGNORECASE)
"""Name of labels beside their volume."""


def described(files: Sequence[Path]) -> dict[Path, DatasetFile]:
    """Return what is stated of folders, by the folder.

    Raises:
        BadData: a file cannot be used.
    """
    return {path.parent: read_dataset_file(path) for path in files if path.name == DATASET}


def find_pairs(folder: Path, stated: DatasetFile, files: Sequence[Path]) -> Iterator[Found]:
    """Yield every volume of a folder with its labels, and what is alone as a case that is broken.

    Raises:
        BadData: there are no two folders, and no labels beside volumes.
    """
    if stated.labels is None:
        return
    source = stated.name or folder.name
    images, masks = _two_sides(folder, stated, files)
    for stem in sorted(images.keys() | masks.keys()):
        image, mask = images.get(stem), masks.get(stem)
        read = partial(_read, image, mask, stem, source, stated)
        yield Found(source, stem, image or mask or folder, read)


def find_unlabelled(folder: Path, stated: DatasetFile) -> Iterator[Found]:
    """Yield every volume of the folder that is stated to hold some on which nothing was drawn.

    Raises:
        BadData: the folder is not there.
    """
    place = _folder(folder, stated.unlabelled, ()) if stated.unlabelled else None
    if place is None:
        return
    source = stated.name or folder.name
    for path in sorted(place.iterdir()):
        if path.is_dir() or SCAN.search(path.name):
            name = path.name if path.is_dir() else _stem(path)
            patient = stated.patient_of(name)
            yield Found(source, name, path, partial(_read_unlabelled, path, source, name, patient))


def _read_unlabelled(path: Path, source: str, name: str, patient: str) -> Case:
    if path.is_dir():
        files = sorted(each for each in path.iterdir() if is_visible(each))
        try:
            volume = series_to_volume(read_series(files, derive_frame_of_reference=True))
        except UnsupportedSeries as error:
            raise BadCase(f"{source} {name}: {error}") from error
    else:
        volume = to_volume(read_image(path, f"{source} {name}"))
    target = np.full(volume.hu.shape, Target.UNKNOWN, np.uint8)
    return Case(patient, source, name, volume, target)


def _read(
    image: Path | None, mask: Path | None, stem: str, source: str, stated: DatasetFile
) -> Case:
    if image is None:
        raise BadCase(f"{source} {stem}: labels without a volume; add it, or remove {mask}")
    if mask is None:
        raise BadCase(f"{source} {stem}: a volume without labels; add them, or remove {image}")
    assert stated.labels is not None  # `find_pairs` found it
    meaning = partial(_to_target, stated.labels)
    patient = stated.patient_of(stem)
    return read_pair(image, mask, source=source, patient=patient, series=stem, meaning=meaning)


def _to_target(labels: Labels, image: "SimpleITK.Image", name: str) -> NDArray[np.uint8]:
    import SimpleITK  # a large library, absent on a machine with packed slices only

    return labels.to_target(SimpleITK.GetArrayFromImage(image), name)


def _two_sides(
    folder: Path, stated: DatasetFile, files: Sequence[Path]
) -> tuple[Mapping[str, Path], Mapping[str, Path]]:
    """Return volumes and labels by the name that they share."""
    scans = [path for path in files if SCAN.search(path.name)]
    images_at = _folder(folder, stated.images, IMAGES)
    masks_at = _folder(folder, stated.masks, MASKS)
    if images_at and masks_at and images_at != masks_at:
        images = {_stem(path): path for path in scans if path.parent == images_at}
        masks = {_bare(_stem(path)): path for path in scans if path.parent == masks_at}
        return images, masks
    here = [path for path in scans if path.parent == (images_at or folder)]
    masks = {found[1]: path for path in here if (found := MASK.fullmatch(_stem(path)))}
    if not masks:
        raise BadData(
            f"{folder / DATASET} has [labels], and {images_at or folder} no labels: put volumes "
            "and labels into folders images and labels, name the folders by images and masks, or "
            "let the labels' names end in _seg"
        )
    taken = set(masks.values())
    return {_stem(path): path for path in here if path not in taken}, masks


def _folder(folder: Path, stated: str, usual: Sequence[str]) -> Path | None:
    """Return a folder that is stated, or the first that has a usual name.

    Raises:
        BadData: the one that is stated is not there.
    """
    if stated:
        if not (folder / stated).is_dir():
            raise BadData(f"{folder / DATASET} names the folder {stated!r}, which is not there")
        return folder / stated
    there = {each.name.lower(): each for each in folder.iterdir() if each.is_dir()}
    return next((there[name] for name in usual if name in there), None)


def _stem(path: Path) -> str:
    return SCAN.sub("", path.name).removesuffix("_0000")


def _bare(stem: str) -> str:
    """Return the name of labels in a folder of their own without a word that says what they are."""
    found = MASK.fullmatch(stem)
    return found[1] if found else stem
