"""Conversion of Hounsfield units from int16, as volumes store them, to the graph's float16."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

HU_BOUNDS = -1024, 2048
"""Padding of -3024 becomes air, and float16 holds every integer between these exactly."""

Hounsfield = NDArray[np.int16] | NDArray[np.float16]
"""Slices for a device: int16 of any value, or float16 within `HU_BOUNDS`."""


def to_float16(hu: NDArray[Any], out: NDArray[np.float16] | None = None) -> NDArray[np.float16]:
    """Return (n, rows, columns) slices within `HU_BOUNDS` as float16.

    int16 is clipped and converted by a table of all 65,536 values, in half the time of NumPy's
    own conversion, which is not vectorised. float16 is taken as it is.

    Args:
        hu: slices.
        out: array of the same shape to write to; a new one if None.
    """
    if hu.dtype != np.int16:
        if out is None:
            return np.asarray(hu, np.float16)
        out[:] = hu
        return out
    if out is None:
        out = np.empty(hu.shape, np.float16)
    table = _table()
    for plane, converted in zip(hu, out, strict=True):
        # One slice at a time: take converts the indices to 64 bits, 2 MB a slice, which must
        # stay in the cache. Every uint16 is a valid index, so "clip" only skips the check.
        np.take(table, plane.view(np.uint16), mode="clip", out=converted)
    return out


@cache
def _table() -> NDArray[np.float16]:
    """Return the float16 of every int16, indexed by its bits as uint16."""
    # In the order of the bits, so that an int16's bits, read as uint16, are its index.
    every = np.arange(1 << 16, dtype=np.uint16).view(np.int16)
    return np.clip(every, *HU_BOUNDS).astype(np.float16)
