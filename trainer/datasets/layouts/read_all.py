"""All labelled data in a folder."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from trainer.datasets.cases.case import Case, to_slices
from trainer.datasets.cases.dataset_file import DATASET, DatasetFile
from trainer.datasets.cases.slice_resizing import resized
from trainer.datasets.cases.slices import SIDE, Slices, concatenate
from trainer.datasets.layouts.chaos import find_chaos
from trainer.datasets.layouts.dicom_with_nifti import find_beside
from trainer.datasets.layouts.dicom_with_seg import find_drawn
from trainer.datasets.layouts.found import Found, is_visible
from trainer.datasets.layouts.ircad import find_ircad
from trainer.datasets.layouts.nifti import find_decathlon, find_lits
from trainer.datasets.layouts.npz import READERS, read_packed
from trainer.datasets.layouts.own_pairs import described, find_pairs, find_unlabelled
from trainer.errors import BadCase, BadData

logger = logging.getLogger(__name__)


FINDERS: tuple[Callable[[Sequence[Path]], Iterator[Found]], ...] = (
    find_lits,
    find_decathlon,
    find_ircad,
    find_chaos,
    find_beside,
    find_drawn,
)
"""One finder per layout; it finds nothing among files of another."""


def find_cases(folder: Path, *, unlabelled: bool = False) -> Iterator[Found]:
    """Yield every case in `folder`, or in one zip, whatever the layout, without its voxels.

    Args:
        folder: where they lie.
        unlabelled: yield volumes too on which nothing was drawn.

    Raises:
        BadData: a `dataset.toml` in it cannot be used.
    """
    # Sorted: the order of a file system must not decide what is learnt first.
    files = [folder] if folder.is_file() else sorted(_files(folder))
    stated = described(files)
    for place, about in stated.items():
        below = [path for path in files if path.is_relative_to(place)]
        yield from (_weighed(found, stated) for found in find_pairs(place, about, below))
        if unlabelled:
            yield from (_weighed(found, stated) for found in find_unlabelled(place, about))
    # What an owner has described is no layout of another's, whatever its files are called.
    paired = [place for place, about in stated.items() if about.labels]
    paired += [place / about.unlabelled for place, about in stated.items() if about.unlabelled]
    others = [path for path in files if not any(path.is_relative_to(each) for each in paired)]
    for find in FINDERS:
        yield from (_weighed(found, stated) for found in find(others))


def weight_of(place: Path, stated: Mapping[Path, DatasetFile]) -> float:
    """Return the weight that the nearest folder above a place states; 1 if none does."""
    above = [folder for folder in stated if place.is_relative_to(folder)]
    return stated[max(above, key=lambda folder: len(folder.parts))].weight if above else 1.0


def _weighed(found: Found, stated: Mapping[Path, DatasetFile]) -> Found:
    weight = weight_of(found.place, stated)
    if weight == 1:
        return found
    return replace(found, read=lambda: replace(found.read(), weight=weight))


def _files(folder: Path) -> Iterator[Path]:
    """Yield every file that is not hidden; links to folders are followed, each folder once."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        whole = os.path.realpath(place)
        if whole in seen:
            # In place, which is how os.walk learns not to descend; links may form a circle.
            folders.clear()
            continue
        seen.add(whole)
        yield from (path for name in names if is_visible(path := Path(place, name)))


def read_cases(
    folder: Path,
    left_out: Callable[[Found, BadCase], None] | None = None,
    reading: Callable[[str], None] = lambda name: None,
    *,
    unlabelled: bool = False,
) -> Iterator[Case]:
    """Read the labelled volumes in `folder` one by one, of every layout that is known.

    Args:
        folder: where the data sets lie, as they were downloaded.
        left_out: called for every broken case; by default a warning is logged.
        reading: called with the name of every case before it is read.
        unlabelled: read volumes too on which nothing was drawn.
    """
    for found in find_cases(folder, unlabelled=unlabelled):
        reading(f"{found.source}, {found.name}")
        try:
            yield found.read()
        except BadCase as error:
            (left_out or _warn)(found, error)


def read_slices(
    folder: Path,
    side: int = SIDE,
    *,
    step_mm: float = 0.0,
    reading: Callable[[str], None] = lambda name: None,
    most: int | None = None,
    unlabelled: bool = False,
) -> Slices:
    """Read every data set in `folder`, volumes cut into slices, all `side` x `side`.

    Args:
        folder: files of slices known by their names, and volumes of every layout that is known.
        side: rows and columns of every slice.
        step_mm: least distance between two slices of a volume; 0 takes every slice.
        reading: called with the name of every case before it is read.
        most: volumes that are read, and patients of packed slices; all if None.
        unlabelled: read volumes too on which nothing was drawn.

    Raises:
        BadData: there is none, or none that can be used.
    """
    stated = described([folder / DATASET] if (folder / DATASET).is_file() else [])
    weight = weight_of(folder, stated)
    slices = [
        resized(replace(each, weight=each.weight * np.float32(weight)), side)
        for _, part in read_packed(folder)
        if len(each := _first(part, most))
    ]
    broken: list[BadCase] = []

    def left_out(found: Found, error: BadCase) -> None:
        broken.append(error)
        _warn(found, error)

    cases = islice(read_cases(folder, left_out, reading, unlabelled=unlabelled), most)
    # One case at a time, so that only one whole volume is held in memory.
    slices += [to_slices([case], side, step_mm=step_mm) for case in cases]
    if not slices:
        raise BadData(_nothing(folder, broken))
    return concatenate(slices)


def _nothing(folder: Path, broken: Sequence[BadCase]) -> str:
    if broken:
        return (
            f"nothing to learn from in {folder}: all {len(broken)} cases are broken, the first "
            f"because: {broken[0]}; `hepar dataset check {folder}` lists them"
        )
    return (
        f"nothing to learn from in {folder}: neither {', '.join(READERS)} nor labelled "
        "volumes; name the folder that holds a data set as it was downloaded, or describe "
        f"your own in {DATASET} (docs/datasets.md)"
    )


def _first(slices: Slices, most: int | None) -> Slices:
    """Return the slices of the first `most` patients."""
    return slices.of(np.unique(slices.patient)[:most].tolist())


def _warn(found: Found, error: BadCase) -> None:
    logger.warning("left out: %s", error, extra={"action": "case_left_out"})
