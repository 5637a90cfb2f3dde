"""Check that the values of a volume can be Hounsfield units, before anything is computed on them.

A missing intercept, a slope of another unit or bits read in the wrong place leave a volume that
looks like CT and is computed to a wrong result. Air, fat, muscle and bone lie where Hounsfield
units have them, in every patient and in every phase.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.errors import UnsupportedSeries
from dicom_node.series.kinds import Classification, SeriesKind
from engine.volume import Volume

SOFT_HU = -250, 350
"""Fat, muscle, organs and blood, with and without contrast."""
LEAST_SOFT = 0.02
"""Part of the voxels that is soft tissue in the emptiest field of view, a child in a wide one."""
DENSE_HU = 400
MOST_DENSE = 0.10
"""Part of the voxels that is bone, metal or contrast; 3 % at most in the series seen."""
PEAK_HU = -150, 230
"""Where the most frequent soft tissue lies: fat at -100, muscle at 50, organs that take up contrast
at up to 200."""
BIN_HU = 20
SAMPLES = 2_000_000
"""Voxels that are looked at, spread evenly: counting all of 300 slices would take 0.3 s."""


@dataclass(frozen=True)
class Densities:
    """Shares of a volume's voxels in ranges of Hounsfield units."""

    soft: float
    """Part of the voxels between `SOFT_HU`."""
    dense: float
    """Part of the voxels above `DENSE_HU`."""
    peak_hu: float
    """Most frequent value between `SOFT_HU`; NaN where there is none."""

    def __str__(self) -> str:
        low, high = SOFT_HU
        peak = "none" if np.isnan(self.peak_hu) else f"{self.peak_hu:.0f} HU"
        return (
            f"{self.soft:.1%} of the voxels lie between {low} and {high} HU, {self.dense:.1%} above"
            f" {DENSE_HU} HU, the peak of soft tissue at {peak}"
        )


def require_hounsfield(volume: Volume) -> None:
    """Return if the values of a volume can be Hounsfield units.

    Raises:
        UnsupportedSeries: they cannot; the message has the figures.
    """
    if volume.hu.min() == volume.hu.max():
        return  # blank: nothing will be found, and nothing speaks against its values
    found = densities(volume.hu)
    low, high = PEAK_HU
    plausible = (
        found.soft >= LEAST_SOFT and found.dense <= MOST_DENSE and low <= found.peak_hu <= high
    )
    if not plausible:
        raise UnsupportedSeries(str(Classification(SeriesKind.IMPLAUSIBLE, 0.0, str(found))))


def densities(hu: NDArray[np.int16]) -> Densities:
    """Return how values are spread, from a sample of the voxels."""
    flat = hu.reshape(-1)
    # An odd step, so that it walks through rows of every length instead of along one column.
    values = flat[:: max(1, len(flat) // SAMPLES) | 1]
    low, high = SOFT_HU
    soft = values[(values >= low) & (values <= high)]
    counts, edges = np.histogram(soft, bins=np.arange(low, high + BIN_HU, BIN_HU))
    peak = float(edges[counts.argmax()] + BIN_HU / 2) if len(soft) else float("nan")
    return Densities(
        len(soft) / len(values), float(np.count_nonzero(values > DENSE_HU) / len(values)), peak
    )
