"""Search for the slices that contain liver, so that the others need not be computed.

Slices at a coarse step are computed first; from those with liver, the computation continues in both
directions while it finds liver. Every component that a sampled slice touches is therefore complete.
Only components shorter than `COARSE_MM` can be missed, never the largest one, which
`engine.segmentation.cleaning` keeps, unless the volume contains no taller one.
"""

import numpy as np
from numpy.typing import NDArray

COARSE_MM = 15.0
"""First search step; a liver is about 150 mm tall."""
FINE_MM = 5.0
"""Second search step, used if the first found no liver."""
REACH_MM = 10.0
"""Distance to continue from a slice with liver. More than half of `COARSE_MM`, so that two adjacent
sampled slices with liver leave no gap."""


def search_steps_mm(height_mm: float) -> tuple[float, ...]:
    """Return the steps to sample slices at, each used if the one before found no liver.

    0 means every slice: below four coarse steps a search saves little.
    """
    return (COARSE_MM, FINE_MM) if height_mm >= 4 * COARSE_MM else (0.0,)


def spread(count: int, spacing_mm: float, step_mm: float) -> NDArray[np.bool_]:
    """Mark slices at most `step_mm` apart (or all), including the first and the last."""
    step = max(1, int(step_mm / spacing_mm))
    marked = np.zeros(count, np.bool_)
    marked[::step] = True
    # A slice, so that a volume without slices is no error.
    marked[-1:] = True
    return marked


def around(seen: NDArray[np.bool_], spacing_mm: float) -> NDArray[np.bool_]:
    """Mark the slices within `REACH_MM` of a slice with liver, and at least its neighbours."""
    reach = max(1, int(REACH_MM / spacing_mm))
    return np.convolve(seen, np.ones(2 * reach + 1))[reach : reach + len(seen)] > 0
