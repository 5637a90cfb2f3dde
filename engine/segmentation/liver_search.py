"""Which slices of a volume are worth computing.

A coarse look finds where liver is; from there the work goes on as long as it meets liver. So every
piece of liver that was seen at all is computed whole, and what is left out could at most hold
pieces that lie between two looks, shorter than `COARSE_MM`: never the largest one, which
`engine.segmentation.cleaning` keeps, unless the whole volume holds no taller piece.
"""

import numpy as np
from numpy.typing import NDArray

COARSE_MM = 15.0
"""A liver is some 150 mm tall."""
FINE_MM = 5.0
"""How close to look before it is said that there is none."""
REACH_MM = 10.0
"""From a slice with liver, how far to go on at once; more than half of `COARSE_MM`."""


def search_steps_mm(height_mm: float) -> tuple[float, ...]:
    """Return how far apart to look, the first time and after nothing was found.

    0 means every slice: below four coarse steps a search saves little.
    """
    return (COARSE_MM, FINE_MM) if height_mm >= 4 * COARSE_MM else (0.0,)


def spread(count: int, spacing_mm: float, step_mm: float) -> NDArray[np.bool_]:
    """Mark slices at most `step_mm` apart (or all of them), the first and the last among them."""
    step = max(1, int(step_mm / spacing_mm))
    marked = np.zeros(count, np.bool_)
    marked[::step] = True
    marked[-1:] = True
    return marked


def around(seen: NDArray[np.bool_], spacing_mm: float) -> NDArray[np.bool_]:
    """Mark the slices within `REACH_MM` of one in which liver was seen, and at least the next."""
    reach = max(1, int(REACH_MM / spacing_mm))
    return np.convolve(seen, np.ones(2 * reach + 1))[reach : reach + len(seen)] > 0
