"""Bounds on what a series may ask for, checked before anything is allocated.

A few kilobytes can announce gigabytes: four JPEG 2000 slices of 17 kB with 30000x30000 pixels, a
deflated data set of zeros, an Enhanced CT with a million frames.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_node.attributes import UNREADABLE, value_of
from dicom_node.decoding.stream import BrokenStream

SLICE_PIXELS = 1 << 24
"""4096 x 4096; CT has 512 x 512 to 2048 x 2048."""
FRAMES = 1 << 14
"""Of one instance."""
VOLUME_BYTES = 1 << 31
"""Of a volume as int16: 4,096 slices of 512 x 512."""
FARTHEST_MM = 1e5
"""Of any position or step."""
SMALLEST_VOXEL_MM3 = 1e-6
"""A cube of 10 micrometres; a singular grid has none."""
INFLATED_BYTES = 1 << 30
"""Of one deflated data set."""


def require_bounded(instance: Dataset) -> None:
    """Return if the size that the attributes announce is within the bounds.

    Raises:
        BrokenStream: it is not, or is no size.
    """
    rows, columns = (_count(instance, keyword) for keyword in ("Rows", "Columns"))
    if rows * columns > SLICE_PIXELS:
        raise BrokenStream(
            f"the slice has {rows} x {columns} pixels; at most {SLICE_PIXELS} are read"
        )
    if instance.get("NumberOfFrames") and _count(instance, "NumberOfFrames") > FRAMES:
        raise BrokenStream(
            f"the instance announces {instance.NumberOfFrames} frames; at most {FRAMES} are read"
        )


def require_bounded_volume(shape: Sequence[int], affine: NDArray[np.float64]) -> None:
    """Return if a volume of this (slice, row, column) shape may be allocated and lies in a room.

    Args:
        shape: voxels along each axis.
        affine: (4, 4), voxel index to millimetres.

    Raises:
        BrokenStream: it may not.
    """
    slices, rows, columns = shape
    if rows * columns > SLICE_PIXELS or slices * rows * columns * 2 > VOLUME_BYTES:
        raise BrokenStream(
            f"the volume has {slices} x {rows} x {columns} voxels; at most {VOLUME_BYTES >> 20} MB"
            " are allocated"
        )
    with np.errstate(all="ignore"):
        volume_mm3 = abs(np.linalg.det(affine[:3, :3]))
    # Not `>` and `<`, which NaN would pass.
    if not np.abs(affine).max() <= FARTHEST_MM or not volume_mm3 >= SMALLEST_VOXEL_MM3:
        raise BrokenStream(
            f"the voxels are {volume_mm3:.3g} mm3 large; spacing, position or orientation is wrong"
        )


def _count(instance: Dataset, keyword: str) -> int:
    try:
        count = int(value_of(instance, keyword))
    except UNREADABLE:
        count = 0
    if count < 1:
        raise BrokenStream(f"{keyword} is missing, or no count")
    return count
