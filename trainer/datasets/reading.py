"""Whatever labelled data a folder holds."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from trainer.datasets.beside import find_beside
from trainer.datasets.case import Case, to_slices
from trainer.datasets.chaos import find_chaos
from trainer.datasets.drawn import find_drawn
from trainer.datasets.found import Found
from trainer.datasets.ircad import find_ircad
from trainer.datasets.nifti import find_decathlon, find_lits
from trainer.datasets.npz import READERS
from trainer.datasets.resizing import resized
from trainer.datasets.slices import SIDE, Slices, concatenate
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
"""Each knows one layout, and finds nothing among files that have another."""


def find_cases(folder: Path) -> Iterator[Found]:
    """Yield every case in `folder`, whatever the layout, without reading its voxels."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for find in FINDERS:
        yield from find(files)


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
