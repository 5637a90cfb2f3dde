"""Whatever labelled data a folder holds."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.datasets.case import Case, to_slices
from trainer.datasets.npz import READERS
from trainer.datasets.resizing import resized
from trainer.datasets.slices import SIDE, Slices, concatenate
from trainer.errors import BadCase, BadData

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """A case that lies in a folder and has not been read yet."""

    source: str
    """The data set it belongs to."""
    place: Path
    """Folder, file or archive that a person would look at."""
    read: Callable[[], Case]
    """Reads it, or raises `BadCase` and says why it cannot be used."""


FINDERS: tuple[Callable[[Path], Iterator[Found]], ...] = ()
"""Each knows one layout, and finds nothing in a folder that has another."""


def find_cases(folder: Path) -> Iterator[Found]:
    """Yield every case in `folder`, whatever the layout, without reading its voxels."""
    for find in FINDERS:
        yield from find(folder)


def read_cases(
    folder: Path, left_out: Callable[[Found, BadCase], None] | None = None
) -> Iterator[Case]:
    """Read the labelled volumes in `folder` one by one, of every layout that is known.

    Args:
        folder: where the data sets lie, as they were downloaded.
        left_out: told of every case that is broken; without it a warning is logged.
    """
    for found in find_cases(folder):
        try:
            yield found.read()
        except BadCase as error:
            (left_out or _warn)(found, error)


def read_slices(folder: Path, side: int = SIDE, *, step_mm: float = 0.0) -> Slices:
    """Read every data set in `folder`, volumes cut into slices, all `side` x `side`.

    Args:
        folder: files of slices known by their names, and volumes of every layout that is known.
        side: rows and columns of every slice.
        step_mm: least distance between two slices of a volume; 0 takes every slice.

    Raises:
        BadData: there is none, or none that can be used.
    """
    parts = [read(folder / name) for name, read in READERS.items() if (folder / name).is_file()]
    slices = [resized(part, side) for part in parts]
    slices += [to_slices([case], side, step_mm=step_mm) for case in read_cases(folder)]
    if not slices:
        raise BadData(
            f"nothing to learn from in {folder}: neither {', '.join(READERS)} nor labelled "
            "volumes; name the folder that holds a data set as it was downloaded"
        )
    return concatenate(slices)


def _warn(found: Found, error: BadCase) -> None:
    logger.warning("left out: %s", error, extra={"action": "case_left_out"})
