"""Features of a scan that tell whether it is like those that a model learnt from.

They are taken from the slices that show liver, reduced to about `SIDE` pixels a side and cut to the
Hounsfield units that the training data keep, so that training slices and whole series are measured
alike.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.manifest import Feature
from engine.volume import LabelMap, Volume

SIDE = 256
"""Rows and columns that a slice is reduced to before noise and contrast are measured; training
slices have as many."""
MOST_PLANES = 16
"""Slices of a series that are looked at, spread over its liver; more change nothing."""
MARGIN = 16
"""Pixels of a reduced slice around the box of its liver that count as its surroundings."""
SOFT_HU = 20.0
"""Lower bound of soft tissue; fat and gas lie below it."""
LEAST = 200
"""Pixels that a feature rests on at least; with fewer it is not measured."""
TO_SD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

Bounds = tuple[float, float]
Values = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Plane:
    """One axial slice with its liver."""

    hu: NDArray[np.int16]
    """(rows, columns)."""
    liver: NDArray[np.bool_]
    """The same shape: liver and tumours."""
    spacing_mm: tuple[float, float]
    """Between rows, between columns; nan where unknown."""


def scan_features(
    volume: Volume, label_map: LabelMap, hu_bounds: Bounds
) -> Mapping[Feature, float]:
    """Return the features of a series by what was marked in it; empty without liver."""
    spacing = volume.geometry.spacing
    shown = np.flatnonzero(label_map.labels.any(axis=(1, 2)))
    spread = np.linspace(0, len(shown) - 1, min(MOST_PLANES, len(shown))).astype(int)
    planes = (
        Plane(volume.hu[index], label_map.labels[index] > 0, spacing[1:]) for index in shown[spread]
    )
    return measure_features(planes, hu_bounds, spacing[0])


@dataclass(frozen=True, eq=False)
class _Pixels:
    """What one slice adds to the features."""

    liver: Values
    inner: Values
    """Smoothed liver, its edge left out."""
    steps: Values
    """Differences of neighbouring pixels of the liver, its edge left out."""
    around: Values
    """Soft tissue around it."""
    part: float
    """Part of the slice that is liver."""


def measure_features(
    planes: Iterable[Plane], hu_bounds: Bounds, slice_mm: float = float("nan")
) -> Mapping[Feature, float]:
    """Return the features of a scan; those that cannot be measured are left out.

    Args:
        planes: slices of one scan; those without liver are passed over.
        hu_bounds: Hounsfield units that the model sees; what lies beyond is cut to them.
        slice_mm: distance between slices; nan where unknown.
    """
    shown = [plane for plane in planes if plane.liver.any()]
    if not shown:
        return {}
    pixels = [_pixels(plane, hu_bounds) for plane in shown]
    liver, inner, steps, around = (
        np.concatenate([getattr(each, name) for each in pixels])
        for name in ("liver", "inner", "steps", "around")
    )
    level = _median(liver)
    low, high = hu_bounds
    found = {
        Feature.LEVEL: level,
        Feature.SPREAD: TO_SD * _median(np.abs(liver - level)),
        # The difference of two pixels has twice the variance of one.
        Feature.NOISE: TO_SD * _median(np.abs(steps)) / 2**0.5,
        Feature.VESSELS: _quantile(inner, 0.95) - _median(inner),
        Feature.CONTRAST: level - _median(around),
        Feature.CUT: _percent((liver <= low) | (liver >= high)),
        Feature.PART: 100 * float(np.mean([each.part for each in pixels])),
        Feature.FIELD: float(np.median([_field_mm(plane) for plane in shown])),
        Feature.SLICES: slice_mm,
    }
    return {feature: value for feature, value in found.items() if np.isfinite(value)}


def _field_mm(plane: Plane) -> float:
    rows, columns = plane.hu.shape
    row_mm, column_mm = plane.spacing_mm
    return float(max(rows * row_mm, columns * column_mm))


def _pixels(plane: Plane, hu_bounds: Bounds) -> _Pixels:
    low, high = hu_bounds
    factor = max(1, round(max(plane.hu.shape) / SIDE))
    box = _box(plane.liver, MARGIN * factor)
    # Cut before they are averaged, as training slices were.
    hu = _reduced(np.clip(plane.hu[box], low, high), factor)
    marked = _reduced(plane.liver[box], factor)
    # Pixels that are partly liver belong to neither.
    liver, outside = marked == 1, marked == 0
    smooth, within = _smoothed(hu, liver)
    steps = np.diff(hu, axis=1)[within[:, 1:] & within[:, :-1]]
    around = hu[outside & (hu > SOFT_HU) & (hu < high)]
    return _Pixels(hu[liver], smooth[within], steps, around, float(plane.liver.mean()))


def _box(mask: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    spans = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    rows, columns = (slice(max(0, int(s[0]) - margin), int(s[-1]) + 1 + margin) for s in spans)
    return rows, columns


def _reduced(values: NDArray[np.int16] | NDArray[np.bool_], factor: int) -> Values:
    """Return the means of blocks of `factor` x `factor` pixels; what is over is left out."""
    rows, columns = (length // factor for length in values.shape)
    total: Values = np.zeros((rows, columns), np.float32)
    for row in range(factor):
        for column in range(factor):
            total += values[row::factor, column::factor][:rows, :columns]
    total /= factor * factor
    return total


def _smoothed(hu: Values, mask: NDArray[np.bool_]) -> tuple[Values, NDArray[np.bool_]]:
    """Return means of 3 x 3 pixels, and where all nine are in the mask."""
    smooth, within = np.zeros_like(hu), mask.copy()
    # Rolled around the edges: a pixel there is no inner one.
    within[[0, -1]] = within[:, [0, -1]] = False
    for row in (-1, 0, 1):
        for column in (-1, 0, 1):
            smooth += np.roll(hu, (row, column), (0, 1))
            within &= np.roll(mask, (row, column), (0, 1))
    return smooth / np.float32(9), within


def _median(values: Values) -> float:
    return _quantile(values, 0.5)


def _quantile(values: Values, part: float) -> float:
    return float(np.quantile(values, part)) if len(values) >= LEAST else float("nan")


def _percent(mask: NDArray[np.bool_]) -> float:
    return 100 * float(mask.mean()) if len(mask) >= LEAST else float("nan")
