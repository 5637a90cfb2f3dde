"""A slice and its neighbours, one above the other, as tumours are planted into them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from trainer.datasets.cases.target import Target
from trainer.errors import BadData

Planes = NDArray[np.float32]
Labels = NDArray[np.uint8]
Masks = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Beside:
    """Labels and spacings of slices with their neighbours, in the order of `offsets`."""

    target: Tensor
    """(n, s, rows, columns) uint8, values of `Target`."""
    away_mm: Tensor
    """(n, s) how far each lies above the slice that is learnt from; 0 where it is that slice, which
    stands for neighbours that there are not, or whose place is unknown."""


@dataclass(frozen=True, eq=False)
class Slab:
    """Different slices of one place in one series."""

    hu: Planes
    """(m, rows, columns)."""
    target: Labels
    """The same shape, values of `Target`."""
    away_mm: NDArray[np.float32]
    """(m,) how far each lies above the one that is learnt from, which is 0 away from itself."""
    pixel_mm: float

    def __post_init__(self) -> None:
        if not self.hu.shape == self.target.shape or list(self.away_mm).count(0) != 1:
            raise BadData(
                f"slices of {self.hu.shape} with targets of {self.target.shape}, "
                f"{self.away_mm.tolist()} mm away: one at 0 mm expected, and one grid"
            )

    @property
    def own(self) -> int:
        """Index of the slice that is learnt from."""
        return int(np.flatnonzero(self.away_mm == 0)[0])

    @property
    def liver(self) -> Masks:
        """(m, rows, columns) liver without tumours that were drawn."""
        return np.asarray(np.isin(self.target, (Target.LIVER, Target.LIVER_OR_TUMOUR)))


def alone(hu: Planes, target: Labels, pixel_mm: float) -> Slab:
    """Return one slice (rows, columns) as a slab."""
    return Slab(hu[None], target[None], np.zeros(1, np.float32), pixel_mm)


def stacked(
    hu: Planes, target: Labels, away_mm: NDArray[np.float32], pixel_mm: float
) -> tuple[Slab, NDArray[np.intp]]:
    """Return the slices that differ, and which of them each of the given ones is.

    Args:
        hu: (s, rows, columns).
        target: the same shape.
        away_mm: (s,); slices at the same place are the same slice.
        pixel_mm: between pixels.
    """
    # At the ends of a series a slice stands for its missing neighbour: it must be planted once.
    places, first, which = np.unique(away_mm, return_index=True, return_inverse=True)
    return Slab(hu[first], target[first], places, pixel_mm), which
