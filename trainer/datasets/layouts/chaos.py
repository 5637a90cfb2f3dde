"""CHAOS, the part in CT: `N/DICOM_anon` and `N/Ground`, healthy livers drawn by experts.

The pictures in Ground are in the order of the instances' file names. The patients were to give a
part of their livers, and have no tumours.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from dicom_node.series import UnsupportedSeries, read_series, stack_drawn, to_volume
from trainer.datasets.cases.case import Case
from trainer.datasets.cases.target import Target
from trainer.datasets.layouts.found import Found, is_visible
from trainer.errors import BadCase

CHAOS = "CHAOS"
IMAGES, MASKS = "dicom_anon", "ground"
"""Folders, in capitals or not."""


def find_chaos(files: Sequence[Path]) -> Iterator[Found]:
    """Yield every CT case; the magnetic resonance images beside them, T1 and T2, are none."""
    folders = {path.parent.parent for path in files if path.parent.name.lower() == IMAGES}
    for folder in sorted(folders):
        if not folder.name.upper().startswith(("T1", "T2")):
            yield Found(CHAOS, f"set {folder.name}", folder, partial(_read, folder))


def _read(folder: Path) -> Case:
    name = f"{CHAOS} set {folder.name}"
    images, masks = _files(folder, IMAGES), _files(folder, MASKS)
    if not masks:
        raise BadCase(f"{name}: nothing was drawn on it; the labels of CHAOS's test sets are kept")
    if len(images) != len(masks):
        raise BadCase(f"{name}: {len(masks)} masks for {len(images)} images; each needs one")
    try:
        # `images` sorted by name is the order of the masks; the reader keeps it.
        instances = read_series(images, derive_frame_of_reference=True)
        volume = to_volume(instances)
        liver = stack_drawn(instances, [_mask(path, name) for path in masks])
    except UnsupportedSeries as error:
        raise BadCase(f"{name}: {error}") from error
    target = liver * np.uint8(Target.LIVER)
    return Case(f"chaos{folder.name}", CHAOS, name, volume, target)


def _files(folder: Path, name: str) -> list[Path]:
    return sorted(
        path
        for part in folder.iterdir()
        if part.is_dir() and part.name.lower() == name
        for path in part.iterdir()
        if is_visible(path)
    )


def _mask(path: Path, name: str) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            # PNG may be bilevel, grey or of a palette; in all of them black is not liver.
            return np.asarray(np.asarray(image.convert("L")) > 0, np.uint8)
    except (UnidentifiedImageError, OSError) as error:
        raise BadCase(f"{name}: mask {path.name} cannot be read: {error}") from error
