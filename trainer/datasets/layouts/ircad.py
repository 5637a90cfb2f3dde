"""3D-IRCADb-01: folders or zips `3Dircadb1.N`, with PATIENT_DICOM and MASKS_DICOM in each.

As published, a case is a zip of zips. Masks bear the names of the images they were drawn on. The
liver's mask has its tumours in it; each tumour has a folder `livertumor…` of its own, and a case
without one has none in its liver.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from dicom_node.series import UnsupportedSeries, read_series, stack_drawn, to_volume
from trainer.datasets.cases.case import Case
from trainer.datasets.cases.target import Target
from trainer.datasets.layouts.found import Found
from trainer.datasets.layouts.ircad_zip import IMAGES, MASKS, cases_in, files_of, is_inside
from trainer.datasets.layouts.patient_names import ircad_patient
from trainer.errors import BadCase

IRCAD = "3D-IRCADb-01"

LIVER, TUMOURS = "liver", "livertumo"
"""A mask's folder, and how the folders of tumours begin."""


def find_ircad(files: Sequence[Path]) -> Iterator[Found]:
    """Yield every case, whether its folders are packed or not; unpacked ones are taken as such."""
    # Like a set, but in the order of the files.
    unpacked = dict.fromkeys(filter(None, map(_case_folder, files)))
    for folder in unpacked:
        yield _found(folder, folder.name)
    seen = {folder.name.lower() for folder in unpacked}
    for path in files:
        if path.name.lower().endswith(".zip") and path.name.lower().startswith("3dircadb1"):
            names = [name for name in cases_in(path) if name.lower() not in seen]
            yield from (_found(path, name) for name in names)
            seen |= {name.lower() for name in names}


def _case_folder(path: Path) -> Path | None:
    """Return the folder of the case that an image, or the zip of the images, belongs to."""
    parts = [part.upper() for part in path.parts]
    if parts[-1] == f"{IMAGES}.ZIP":
        return path.parent
    return Path(*path.parts[: parts.index(IMAGES)]) if IMAGES in parts[:-1] else None


def _found(place: Path, name: str) -> Found:
    return Found(IRCAD, name, place, partial(_read, place, name))


def _read(place: Path, name: str) -> Case:
    try:
        with files_of(place, name) as files:
            return _read_files(files, name)
    except (BadZipFile, OSError) as error:
        raise BadCase(f"{IRCAD} {name}: {place} cannot be unpacked: {error}") from error
    except UnsupportedSeries as error:
        raise BadCase(f"{IRCAD} {name}: {error}") from error


def _read_files(files: Sequence[Path], name: str) -> Case:
    images = {path.name: path for path in files if is_inside(IMAGES, path)}
    liver = _masks(files, lambda folder: folder == LIVER)
    if not images or not liver:
        raise BadCase(f"{IRCAD} {name}: no images in {IMAGES}, or no masks in {MASKS}/{LIVER}")
    instances = read_series(images.values(), derive_frame_of_reference=True)
    for instance in instances:  # stored in Hounsfield units, whether the header says so or not
        instance.setdefault("RescaleSlope", 1)
        instance.setdefault("RescaleIntercept", 0)
    volume = to_volume(instances)
    target = stack_drawn(instances, _drawn(liver, list(images), name)) * np.uint8(Target.LIVER)
    if tumours := _masks(files, lambda folder: folder.startswith(TUMOURS)):
        target[stack_drawn(instances, _drawn(tumours, list(images), name)) > 0] = Target.TUMOUR
    number = re.fullmatch(r"3Dircadb1\.(\d+)", name, re.IGNORECASE)
    patient = ircad_patient(int(number[1])) if number else name
    return Case(patient, IRCAD, name, volume, target)


Masks = Mapping[Path, Mapping[str, Path]]
"""Folder of one organ or tumour to its masks by the names of the images."""


def _masks(files: Sequence[Path], wanted: Callable[[str], bool]) -> Masks:
    folders: dict[Path, dict[str, Path]] = {}
    for path in files:
        if is_inside(MASKS, path) and wanted(path.parent.name.lower()):
            folders.setdefault(path.parent, {})[path.name] = path
    return folders


def _drawn(folders: Masks, images: Sequence[str], name: str) -> list[NDArray[np.uint8]]:
    """Return the union of the folders' masks on each image."""
    # A missing mask is no empty one: the published set has one for every image.
    for folder, masks in folders.items():
        if missing := set(images) - set(masks):
            raise BadCase(
                f"{IRCAD} {name}: {len(missing)} of {len(images)} masks are missing in "
                f"{folder.name}, among them {min(missing)}"
            )
    return [_union([masks[image] for masks in folders.values()], name) for image in images]


def _union(paths: Sequence[Path], name: str) -> NDArray[np.uint8]:
    try:
        marked = [mask.pixel_array > 0 for mask in read_series(paths)]
        return np.asarray(np.logical_or.reduce(marked), np.uint8)
    # What pydicom raises where there are no pixels, or none that it can decode.
    except (AttributeError, ValueError, NotImplementedError, RuntimeError) as error:
        raise BadCase(f"{IRCAD} {name}: mask {paths[0].name} cannot be read: {error}") from error
