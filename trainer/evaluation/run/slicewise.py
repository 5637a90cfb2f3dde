"""Slices that can be marked at once: one patient, one spacing."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cases.neighbours import Neighbours
from trainer.datasets.cases.slices import Slices

BATCH = 8


@dataclass(frozen=True, eq=False)
class Alike:
    """A few slices of one patient and of one spacing."""

    patient: str
    pixel_mm: float
    slices: Slices
    hu: NDArray[np.float16]
    """(n, rows, columns), or with neighbours (n, s, rows, columns) as `Neighbours` orders them."""


def alike(slices: Slices, unknown_pixel_mm: float, neighbours: int = 0) -> Iterator[Alike]:
    """Yield each patient's slices of one pixel spacing, a few at a time.

    Args:
        slices: of any patients.
        unknown_pixel_mm: what is assumed where a slice has lost its spacing.
        neighbours: slices to either side that are to be shown too.
    """
    beside = Neighbours(slices)
    spacing = np.where(np.isnan(slices.pixel_mm), unknown_pixel_mm, slices.pixel_mm)
    for patient in np.unique(slices.patient):
        for spacing_mm in np.unique(spacing[slices.patient == patient]):
            chosen = np.flatnonzero((slices.patient == patient) & (spacing == spacing_mm))
            for start in range(0, len(chosen), BATCH):
                part = chosen[start : start + BATCH]
                hu = beside.hu(part, neighbours).astype(np.float16)
                yield Alike(str(patient), float(spacing_mm), slices[part], hu)
