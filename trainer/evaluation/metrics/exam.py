"""Ground truth of one patient beside a prediction."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from engine.volume import Label
from trainer.datasets.cases.target import Target
from trainer.errors import BadData

Mask = NDArray[np.bool_]


class Structure(StrEnum):
    """Structure that is scored."""

    LIVER = "liver"
    """With the tumours in it, as LiTS counts it."""
    TUMOUR = "tumour"


@dataclass(frozen=True, eq=False)
class Piece:
    """A volume, or a slice that has no neighbours: arrays on one grid of three axes or of two."""

    hu: NDArray[np.int16]
    target: NDArray[np.uint8]
    """Values of `Target`."""
    found: NDArray[np.uint8]
    """Values of `Label`; nothing counts as found where the target is unknown."""
    spacing_mm: tuple[float, ...] | None
    """Along each axis; None where the source lost it."""

    def __post_init__(self) -> None:
        axes = {self.hu.ndim} if self.spacing_mm is None else {self.hu.ndim, len(self.spacing_mm)}
        if not self.hu.shape == self.target.shape == self.found.shape or len(axes) > 1:
            raise BadData(
                f"images of {self.hu.shape}, drawn labels of {self.target.shape} and found ones of "
                f"{self.found.shape} with spacing {self.spacing_mm}: one grid expected"
            )

    @property
    def is_volume(self) -> bool:
        """Whether there are neighbouring slices."""
        return self.hu.ndim == 3

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres; nan for a slice."""
        if self.spacing_mm is None or not self.is_volume:
            return float("nan")
        return math.prod(self.spacing_mm) / 1000

    @property
    def known(self) -> Mask:
        """Mask of voxels that were annotated."""
        known: Mask = self.target != Target.UNKNOWN
        return known

    @property
    def tumours_drawn(self) -> bool:
        """Whether tumours were drawn, or looked for and not found."""
        return not np.any(self.target == Target.LIVER_OR_TUMOUR)

    @property
    def liver_drawn(self) -> bool:
        """Whether the liver was drawn, or looked for and not found."""
        return not np.any(self.target == Target.NO_TUMOUR)

    def masks(self, structure: Structure) -> tuple[Mask, Mask] | None:
        """Return what was found and what was drawn; None where the structure was not drawn."""
        if structure is Structure.LIVER:
            if not self.liver_drawn:
                return None
            # Target.UNKNOWN is 255, so `> 0` alone would count it as liver.
            return (self.found > 0) & self.known, (self.target > 0) & self.known
        if not self.tumours_drawn:
            return None
        return (self.found == Label.TUMOUR) & self.known, self.target == Target.TUMOUR


@dataclass(frozen=True, eq=False)
class Exam:
    """All that there is of one patient."""

    patient: str
    pieces: tuple[Piece, ...]

    def masks(self, structure: Structure) -> Iterator[tuple[Mask, Mask, Piece]]:
        """Yield what was found and what was drawn, piece by piece, where it was drawn at all."""
        for piece in self.pieces:
            if (pair := piece.masks(structure)) is not None:
                yield *pair, piece
