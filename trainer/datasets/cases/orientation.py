"""The orientation of slices whose header lost it, seen from what they show."""

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cases.target import INSIDE

BODY_HU, BONE_HU = -200, 250


def upright(
    hu: NDArray[np.int16], target: NDArray[np.uint8]
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Return slices whose rows run to the back, where the spine is, and columns to the left.

    The liver lies on the right; which end is the head is not asked.

    Args:
        hu: (slices, rows, columns), the columns across the patient.
        target: likewise, values of `Target`.
    """
    liver = np.isin(target, INSIDE)
    if not liver.any():
        return hu, target
    # Around the liver only: the pelvis has bones in front, too.
    shown = hu[liver.any(axis=(1, 2))]
    body, bones = shown > BODY_HU, shown > BONE_HU
    rows = slice(None, None, -1 if _middle(bones, 1) < _middle(body, 1) else 1)
    columns = slice(None, None, -1 if _middle(liver, 2) > _middle(body, 2) else 1)
    turned = (slice(None), rows, columns)
    # torch takes no arrays with negative strides.
    return np.ascontiguousarray(hu[turned]), np.ascontiguousarray(target[turned])


def _middle(mask: NDArray[np.bool_], axis: int) -> float:
    """Return the mean index of a mask along an axis; the middle of the axis where it is empty."""
    counts = mask.sum(axis=tuple(other for other in range(3) if other != axis), dtype=np.int64)
    whole = counts.sum()
    return float(counts @ np.arange(len(counts)) / whole) if whole else (len(counts) - 1) / 2
