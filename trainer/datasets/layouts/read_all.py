"""All labelled data in a folder."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from trainer.datasets.cases.case import Case, to_slices
from trainer.datasets.cases.slice_resizing import resized
from trainer.datasets.cases.slices import SIDE, Slices, concatenate
from trainer.datasets.layouts.chaos import find_chaos
from trainer.datasets.layouts.dicom_with_nifti import find_beside
from trainer.datasets.layouts.dicom_with_seg import find_drawn
from trainer.datasets.layouts.found import Found, is_visible
from trainer.datasets.layouts.ircad import find_ircad
from trainer.datasets.layouts.nifti import find_decathlon, find_lits
from trainer.datasets.layouts.npz import READERS, read_packed
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


def find_cases(folder: Path) -> Iterator[Found]:
    """Yield every case in `folder`, or in one zip, whatever the layout, without its voxels."""
    # Sorted: the order of a file system must not decide what is learnt first.
    files = [folder] if folder.is_file() else sorted(_files(folder))
    for find in FINDERS:
        yield from find(files)


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
) -> Iterator[Case]:
    """Read the labelled volumes in `folder` one by one, of every layout that is known.

    Args:
        folder: where the data sets lie, as they were downloaded.
        left_out: called for every broken case; by default a warning is logged.
        reading: called with the name of every case before it is read.
    """
    for found in find_cases(folder):
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
) -> Slices:
    """Read every data set in `folder`, volumes cut into slices, all `side` x `side`.

    Args:
        folder: files of slices known by their names, and volumes of every layout that is known.
        side: rows and columns of every slice.
        step_mm: least distance between two slices of a volume; 0 takes every slice.
        reading: called with the name of every case before it is read.
        most: volumes that are read, and patients of packed slices; all if None.

    Raises:
        BadData: there is none, or none that can be used.
    """
    slices = [resized(_first(part, most), side) for _, part in read_packed(folder)]
    cases = islice(read_cases(folder, reading=reading), most)
    # One case at a time, so that only one whole volume is held in memory.
    slices += [to_slices([case], side, step_mm=step_mm) for case in cases]
    if not slices:
        raise BadData(
            f"nothing to learn from in {folder}: neither {', '.join(READERS)} nor labelled "
            "volumes; name the folder that holds a data set as it was downloaded"
        )
    return concatenate(slices)


def _first(slices: Slices, most: int | None) -> Slices:
    """Return the slices of the first `most` patients."""
    return slices.of(np.unique(slices.patient)[:most].tolist())


def _warn(found: Found, error: BadCase) -> None:
    logger.warning("left out: %s", error, extra={"action": "case_left_out"})
