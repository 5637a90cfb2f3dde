"""Lesions one by one: which were found, and which marks are false.

A lesion is a piece of tumour whose voxels share faces, as LiTS counts them; on a slice without
neighbours, a piece whose pixels share sides. One counts as found when the marks cover at least
`FOUND_AT` of it (intersection over reference, IoR, in Metrics Reloaded), and a mark counts as right
when drawn tumour covers as much of it: so two lesions under one mark are both found.
"""

import math
from dataclasses import dataclass
from typing import Final

import cc3d
import numpy as np

from engine.segmentation.cleaning import FACES
from trainer.evaluation.metrics.exam import Exam, Mask, Piece, Structure

FOUND_AT = 0.1
"""Coarse, as nnDetection has it (Baumgartner et al. 2021, arXiv:2106.00817)."""
WELL_FOUND_AT = 0.5
"""Half of it covered; stated beside."""
SIDES: Final = 4


@dataclass(frozen=True)
class Lesion:
    """One lesion, drawn or found."""

    diameter_mm: float
    """Of the ball, on a slice of the disc, of the same size; nan where the spacing is lost."""
    covered: float
    """Part of it that the other side marks too, 0 to 1."""
    ml: float
    """Its volume; nan on a slice."""


@dataclass(frozen=True)
class Lesions:
    """The lesions of one patient."""

    drawn: tuple[Lesion, ...]
    found: tuple[Lesion, ...]

    def __add__(self, other: "Lesions") -> "Lesions":
        return Lesions(self.drawn + other.drawn, self.found + other.found)


def lesions_of(exam: Exam) -> Lesions | None:
    """Return every lesion of a patient; None where tumours were not drawn."""
    drawn: list[Lesion] = []
    found: list[Lesion] = []
    looked = False
    for marked, true, piece in exam.masks(Structure.TUMOUR):
        looked = True
        drawn += _lesions(true, marked, piece)
        found += _lesions(marked, true, piece)
    return Lesions(tuple(drawn), tuple(found)) if looked else None


def _lesions(mask: Mask, other: Mask, piece: Piece) -> list[Lesion]:
    if not mask.any():
        return []
    numbers = cc3d.connected_components(
        mask, connectivity=FACES if piece.is_volume else SIDES, binary_image=True
    )
    # Number 0 is the background.
    sizes = np.bincount(numbers[mask])[1:]
    common = np.bincount(numbers[mask & other], minlength=len(sizes) + 1)[1:]
    return [
        Lesion(_diameter_mm(int(size), piece), int(shared) / int(size), int(size) * piece.voxel_ml)
        for size, shared in zip(sizes, common, strict=True)
    ]


def _diameter_mm(count: int, piece: Piece) -> float:
    if piece.spacing_mm is None:
        return float("nan")
    size = count * math.prod(piece.spacing_mm)
    if piece.is_volume:
        # A ball of diameter d has pi d^3 / 6, a disc pi d^2 / 4.
        return float((6 * size / math.pi) ** (1 / 3))
    return float(math.sqrt(4 * size / math.pi))
