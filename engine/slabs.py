"""Calls to a device, cut so that every slice still has its neighbours beside it.

Members may see the slices beside their own, and the graph takes these from the slices of the same
call; at its ends a slice is its own neighbour.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Slab:
    """One call: what it shows, and what of its answer counts."""

    shown: slice
    """The slices of the call."""
    kept: slice
    """Those of them that have all their neighbours, counted within the call."""
    place: slice
    """Where these lie among all slices."""


def cut(first: int, stop: int, count: int, most: int, neighbours: int) -> Iterator[Slab]:
    """Yield calls that together answer the slices from `first` to `stop`, of `count` in all.

    Args:
        first: the first slice to be answered.
        stop: the one after the last.
        count: slices that there are: what lies beyond the asked ones is shown as a neighbour.
        most: slices that a call may show; more where not even one would have its neighbours.
        neighbours: slices to either side that an answer depends on.
    """
    start = first
    while start < stop:
        low = max(start - neighbours, 0)
        reach = low + most if low + most >= count else low + most - neighbours
        end = min(max(reach, start + 1), stop)
        high = min(end + neighbours, count)
        yield Slab(slice(low, high), slice(start - low, end - low), slice(start, end))
        start = end


def runs(indices: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Yield the first of each run of consecutive indices, and the one after its last."""
    breaks = np.flatnonzero(np.diff(indices) > 1) + 1
    for part in np.split(indices, breaks):
        if len(part):
            yield int(part[0]), int(part[-1]) + 1
