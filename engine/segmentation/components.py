"""Connected components and holes of a binary volume, by runs of voxels along its rows.

A liver of 10 million voxels has some 100,000 runs, so this is several times as fast as labelling
voxels. Tests compare it with cc3d's. Voxels are connected by faces (6-connected).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of marked voxels of a padded volume, as intervals of the flattened array.

    Each row is followed by padding, each slice by an empty row, and the volume lies between two
    empty slices. So adding `row` or `slice` to an interval gives the same columns of the next row
    or slice, never the opposite edge of the volume.
    """

    starts: Positions
    ends: Positions
    """One past the last voxel of each run."""
    row: int
    """Distance of a voxel from the one in the next row."""
    slice: int
    """Distance of a voxel from the one in the next slice."""

    @property
    def lengths(self) -> Positions:
        """Voxels of each run."""
        return self.ends - self.starts

    @cached_property
    def components(self) -> Positions:
        """The first run of the component that each run belongs to."""
        edges = [
            _overlaps(self.starts + step, self.ends + step, self.starts, self.ends)
            # Two of the six directions: an overlap is found from one of both sides. Within a row
            # runs never touch.
            for step in (self.row, self.slice)
        ]
        first, second = (np.concatenate(part) for part in zip(*edges, strict=True))
        return _merged(np.arange(len(self.starts)), first, second)

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Voxels of each run's component, at the index of its first run; 0 at all others."""
        sizes = np.bincount(self.components, self.lengths, minlength=len(self.starts))
        return sizes.astype(np.int64)

    def of(self, chosen: NDArray[np.bool_]) -> "Runs":
        """Return some of the runs."""
        return Runs(self.starts[chosen], self.ends[chosen], self.row, self.slice)

    def holes(self) -> "Runs":
        """Return the runs of voxels that are not marked and cannot reach the border."""
        same_row = self.starts[1:] // self.row == self.ends[:-1] // self.row
        inner = np.flatnonzero(same_row) + 1
        if not len(inner):
            return self.of(np.zeros(len(self.starts), np.bool_))
        # Gap i lies before run i. Those that cross the padding of a row are outside: number 0.
        total = self.ends[-1:] + 2 * self.slice
        starts, ends = np.append(0, self.ends), np.append(self.starts, total)
        numbers = np.zeros(len(starts), np.intp)
        numbers[inner] = inner
        edges = [
            _overlaps(starts[inner] + step, ends[inner] + step, starts, ends)
            for step in (self.row, -self.row, self.slice, -self.slice)
        ]
        first, second = (np.concatenate(part) for part in zip(*edges, strict=True))
        enclosed = inner[_merged(numbers, inner[first], second)[inner] > 0]
        return Runs(starts[enclosed], ends[enclosed], self.row, self.slice)

    def voxels(self) -> Positions:
        """Return the position of every voxel."""
        lengths = self.lengths
        before = np.cumsum(lengths) - lengths
        voxels: Positions = np.arange(lengths.sum()) + np.repeat(self.starts - before, lengths)
        return voxels


def padded(bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (slices, rows, bytes) of packed voxels with the padding that `find_runs` needs."""
    slices, rows, width = bits.shape
    around = np.zeros((slices + 2, rows + 1, width + 1), np.uint8)
    around[1:-1, :-1, :-1] = bits
    return around


def find_runs(bits: NDArray[np.uint8]) -> Runs:
    """Return the runs of marked voxels in an array from `padded`."""
    _, rows, width = bits.shape
    stream = bits.reshape(-1)
    edges: NDArray[np.uint8] = stream >> np.uint8(1)  # each voxel against the one before it
    # The last voxel of each byte stands before the first of the next.
    edges[1:] |= stream[:-1] << np.uint8(7)
    edges ^= stream
    filled = np.flatnonzero(edges != 0)
    places = np.flatnonzero(np.unpackbits(edges[filled]))
    changes = filled[places >> 3] * 8 + (places & 7)
    # Beginnings and ends take turns: the padding ends every run within its row.
    return Runs(changes[::2], changes[1::2], 8 * width, 8 * width * rows)


def _overlaps(
    starts: Positions, ends: Positions, other_starts: Positions, other_ends: Positions
) -> tuple[Positions, Positions]:
    """Return the pairs of intervals that overlap, as indices; both lists must be ascending."""
    # Intervals that only touch do not overlap: ends are one past the last voxel.
    low = np.searchsorted(other_ends, starts, "right")
    counts = np.searchsorted(other_starts, ends, "left") - low
    before = np.cumsum(counts) - counts
    first = np.repeat(np.arange(len(starts)), counts)
    return first, np.arange(len(first)) + np.repeat(low - before, counts)


def _merged(numbers: Positions, first: Positions, second: Positions) -> Positions:
    """Return the smallest number of each connected component of a graph.

    Args:
        numbers: for each node, its own index or that of a node that it is connected to.
        first: one end of each edge.
        second: the other end.
    """
    while True:
        one, other = numbers[first], numbers[second]
        apart = one != other
        if not apart.any():
            return numbers
        first, second, one, other = (each[apart] for each in (first, second, one, other))
        # Every node points to a smaller one, so there are no cycles, whichever write wins.
        numbers[np.maximum(one, other)] = np.minimum(one, other)
        while ((nearer := numbers[numbers]) != numbers).any():
            numbers = nearer
