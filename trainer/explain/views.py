"""Slices to look at, and what experts drew on them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.hounsfield import HU_BOUNDS
from engine.volume import Volume
from trainer.datasets.cases.case import Case
from trainer.datasets.cases.neighbours import offsets
from trainer.datasets.cases.slices import Slices
from trainer.datasets.cases.target import INSIDE, Target
from trainer.errors import BadData
from trainer.evaluation.run.methods import UNKNOWN_PIXEL_MM

Marks = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class View:
    """One slice."""

    title: str
    hu: NDArray[np.float16]
    """(rows, columns)."""
    spacing_mm: tuple[float, float]
    """Between rows, between columns."""
    target: Marks | None
    """Values of `Target`; None for unlabelled slices."""
    slab: NDArray[np.float16] | None = None
    """(s, rows, columns) with its neighbours, in the order of `offsets`; None: it stands alone."""

    @property
    def drawn_liver(self) -> NDArray[np.bool_] | None:
        """Expert outline of the liver with its tumours."""
        if self.target is None:
            return None
        drawn: NDArray[np.bool_] = np.isin(self.target, INSIDE)
        return drawn

    @property
    def drawn_tumour(self) -> NDArray[np.bool_] | None:
        """Expert outline of tumours; None also where only the liver was outlined."""
        if self.target is None or np.any(self.target == Target.LIVER_OR_TUMOUR):
            return None
        drawn: NDArray[np.bool_] = self.target == Target.TUMOUR
        return drawn


def of_case(case: Case, indices: Sequence[int] = (), neighbours: int = 0) -> Iterator[View]:
    """Yield slices of a labelled volume: those named, else the most telling ones.

    Args:
        case: the volume.
        indices: slices to show.
        neighbours: slices to either side that the model sees too.
    """
    spacing_mm = case.volume.geometry.spacing[1:]
    for index in _checked(indices, len(case.target)) or telling(case.target):
        title = f"{case.patient}, slice {index}"
        hu, slab = _hu(case.volume.hu[index]), _slab(case.volume, index, neighbours)
        yield View(title, hu, spacing_mm, case.target[index], slab)


def of_slices(slices: Slices, indices: Sequence[int] = ()) -> Iterator[View]:
    """Yield slices of one patient: those named, else the most telling ones."""
    for index in _checked(indices, len(slices)) or telling(slices.target):
        pixel_mm = float(slices.pixel_mm[index])
        known = not np.isnan(pixel_mm)
        # As in training, so that members see what they learnt on.
        mm = pixel_mm if known else UNKNOWN_PIXEL_MM
        note = "" if known else f", {mm:g} mm assumed between pixels"
        title = f"{slices.patient[index]}, slice {index} of its {len(slices)}{note}"
        yield View(title, _hu(slices.hu[index]), (mm, mm), slices.target[index])


def of_volume(
    name: str, volume: Volume, found: Marks, indices: Sequence[int] = (), neighbours: int = 0
) -> Iterator[View]:
    """Yield slices of an unlabelled volume: those named, else chosen by the result."""
    for index in _checked(indices, len(found)) or telling(found):
        spacing_mm = volume.geometry.spacing[1:]
        hu, slab = _hu(volume.hu[index]), _slab(volume, index, neighbours)
        yield View(f"{name}, slice {index}", hu, spacing_mm, None, slab)


def telling(marks: Marks) -> list[int]:
    """Return the slice with most tumour, if there is any, and the one with most liver.

    Raises:
        BadData: there is neither.
    """
    inside = np.isin(marks, INSIDE)
    tumour = np.count_nonzero(marks == Target.TUMOUR, axis=(1, 2))
    liver = np.count_nonzero(inside, axis=(1, 2))
    if not liver.any():
        raise BadData("no slice shows a liver; name slices with --slice to look at them anyway")
    wanted = [int(each.argmax()) for each in (tumour, liver) if each.any()]
    # One slice may have most of both.
    return list(dict.fromkeys(wanted))


def _checked(indices: Iterable[int], count: int) -> list[int]:
    wanted = list(indices)
    for index in wanted:
        if not 0 <= index < count:
            raise BadData(f"no slice {index}: there are {count}, counted from 0")
    return wanted


def _slab(volume: Volume, index: int, neighbours: int) -> NDArray[np.float16] | None:
    if not neighbours:
        return None
    # The end slices stand for neighbours beyond them, as in use.
    wanted = np.clip(index + np.array(offsets(neighbours)), 0, len(volume.hu) - 1)
    return _hu(volume.hu[wanted])


def _hu(plane: NDArray[np.int16]) -> NDArray[np.float16]:
    # Clipped first, as the engine does before its graph.
    return np.clip(plane, *HU_BOUNDS).astype(np.float16)
