"""Overlap of two masks, in counts of voxels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Overlap:
    """Pixels marked by both, by the prediction, by the expert; and all that were looked at."""

    both: int
    predicted: int
    true: int
    pixels: int

    def __add__(self, other: "Overlap") -> "Overlap":
        return Overlap(
            self.both + other.both,
            self.predicted + other.predicted,
            self.true + other.true,
            self.pixels + other.pixels,
        )

    @property
    def dice(self) -> float:
        """Dice similarity coefficient; nan where neither marks anything."""
        return _part(2 * self.both, self.predicted + self.true)

    @property
    def iou(self) -> float:
        """Intersection over union; nan where neither marks anything."""
        return _part(self.both, self.predicted + self.true - self.both)

    @property
    def precision(self) -> float:
        """Positive predictive value; nan where nothing is predicted."""
        return _part(self.both, self.predicted)

    @property
    def recall(self) -> float:
        """Sensitivity; nan where the expert marks nothing."""
        return _part(self.both, self.true)

    @property
    def accuracy(self) -> float:
        """Part of all pixels on which both agree; near 1 wherever the structure is small."""
        return 1 - _part(self.predicted + self.true - 2 * self.both, self.pixels)


NOTHING = Overlap(0, 0, 0, 0)


def overlap(
    predicted: NDArray[np.bool_], true: NDArray[np.bool_], known: NDArray[np.bool_] | None = None
) -> Overlap:
    """Count two masks; `known` marks the pixels that were looked at; all if None."""
    return Overlap(
        int(np.count_nonzero(predicted & true)),
        int(np.count_nonzero(predicted)),
        int(np.count_nonzero(true)),
        int(true.size if known is None else np.count_nonzero(known)),
    )


def _part(some: int, whole: int) -> float:
    return some / whole if whole else float("nan")
