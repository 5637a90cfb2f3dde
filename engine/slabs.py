"""Splitting of a volume into device calls that keep each slice together with its neighbours.

Members may use adjacent slices as input channels. The graph takes them from the same call and
repeats the first and the last slice at its ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Slab:
    """One call: its input slices, and the part of its answer that counts."""

    shown: slice
    """Input slices, as indices of the volume."""
    kept: slice
    """Slices of the call that have all their neighbours, as indices of the call."""
    place: slice
    """The same slices as indices of the volume."""


def cut(first: int, stop: int, count: int, most: int, neighbours: int) -> Iterator[Slab]:
    """Yield calls that together cover the slices from `first` to `stop`.

    Args:
        first: first slice to compute.
        stop: one past the last slice to compute.
        count: slices of the volume; those outside of the range serve as neighbours.
        most: largest number of input slices per call; exceeded where not even one slice would
            have its neighbours.
        neighbours: adjacent slices on each side that an answer depends on.
    """
    start = first
    while start < stop:
        low = max(start - neighbours, 0)
        # At the end of the volume no neighbours have to fit in.
        reach = low + most if low + most >= count else low + most - neighbours
        # At least one slice further, or a `most` that is too small would loop for ever.
        end = min(max(reach, start + 1), stop)
        high = min(end + neighbours, count)
        yield Slab(slice(low, high), slice(start - low, end - low), slice(start, end))
        start = end


def runs(indices: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of each run of consecutive indices."""
    breaks = np.flatnonzero(np.diff(indices) > 1) + 1
    for part in np.split(indices, breaks):
        if len(part):
            yield int(part[0]), int(part[-1]) + 1
