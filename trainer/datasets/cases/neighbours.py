"""The slices to either side of a slice, in its own series."""

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cases.slices import Slices


def offsets(count: int) -> list[int]:
    """Return how slices are ordered that are shown with `count` neighbours to either side.

    The slice itself, one below, one above, two below and so on.
    """
    return [0, *(step for away in range(1, count + 1) for step in (-away, away))]


def upwards(count: int) -> list[int]:
    """Return where each of them stands in that order, the lowest first."""
    order = offsets(count)
    return sorted(range(len(order)), key=order.__getitem__)


class Neighbours:
    """Finds a slice's neighbours by their place in the series."""

    def __init__(self, slices: Slices) -> None:
        self._slices = slices
        # The last key counts first: series by series, in each from the feet to the head.
        self._order = np.lexsort((slices.position_mm, slices.series))
        # The inverse permutation: where each slice stands in that order.
        self._place = np.argsort(self._order)

    def hu(self, chosen: NDArray[np.intp], count: int) -> NDArray[np.int16]:
        """Return slices with `count` neighbours to either side.

        Returns:
            (n, rows, columns) where no neighbour is asked for; otherwise (n, 1 + 2 count, rows,
            columns), in the order of `offsets`. The ends of a series repeat themselves, and so
            does a slice whose place is unknown.
        """
        return self._slices.hu[self.around(chosen, count) if count else chosen]

    def around(self, chosen: NDArray[np.intp], count: int) -> NDArray[np.intp]:
        """Return (n, 1 + 2 count) which slices these are, in the order of `offsets`."""
        sides = {sign: self._walk(chosen, sign, count) for sign in (-1, 1)}
        indices = [chosen]
        for step in range(count):
            indices += [sides[-1][step], sides[1][step]]
        return np.stack(indices, axis=1)

    def away_mm(self, around: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return how far each of `around` lies above its own slice; 0 if it is that slice."""
        position = self._slices.position_mm[around]
        return np.where(around == around[:, :1], np.float32(0), position - position[:, :1])

    def _walk(self, chosen: NDArray[np.intp], sign: int, count: int) -> list[NDArray[np.intp]]:
        """Return the indices one step away, two, and so on, no further than the series goes."""
        series, position = self._slices.series, self._slices.position_mm
        steps, here = [], chosen
        for _ in range(count):
            place = np.clip(self._place[here] + sign, 0, len(self._order) - 1)
            there = self._order[place]
            # nan sorts last, so unplaced slices stand beside one another without being neighbours.
            known = np.isfinite(position[there]) & np.isfinite(position[here])
            here = np.where(known & (series[there] == series[here]), there, here)
            steps.append(here)
        return steps
