"""Longest diameter of a shape and its longest perpendicular.

A shape extends to the outer edges of its pixels, so a row of ten pixels is ten pixels long. As with
callipers, a diameter may cross a concavity.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(n, 2): row and column, or millimetres along them."""


@dataclass(frozen=True)
class Line:
    """A straight line in a slice."""

    start: tuple[float, float]
    """Row and column; (0, 0) is the centre of the first pixel."""
    end: tuple[float, float]
    mm: float


@dataclass(frozen=True)
class Diameters:
    """Long and short axis of a shape in one slice, as in RECIST."""

    longest: Line
    perpendicular: Line


def diameters(mask: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> Diameters:
    """Return the diameters of a non-empty mask; spacing is (row, column) in mm."""
    edge = _edges(mask) * spacing_mm
    lower, upper = _chains(edge)
    # Only corners of the hull can be furthest apart, and they are few.
    hull = np.concatenate([lower, upper])
    apart = np.hypot(*(hull[:, None] - hull[None]).transpose(2, 0, 1))
    # Rounded: of equal diameters always the first, whatever the processor's last bits are.
    start, end = np.unravel_index(int(np.round(apart, 6).argmax()), apart.shape)
    return Diameters(
        _line(hull[start], hull[end], spacing_mm),
        _line(*_across(hull, hull[end] - hull[start]), spacing_mm),
    )


def _edges(mask: NDArray[np.bool_]) -> Points:
    """Return the midpoints of the outermost pixel edges of each row."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    # argmax of booleans is the first True, here from the right.
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    sides = [(rows, first - 0.5), (rows, last + 0.5)]
    ends = [(rows + step, column) for step in (-0.5, 0.5) for column in (first, last)]
    return np.concatenate([np.stack(pair, axis=1) for pair in (*sides, *ends)]).astype(np.float64)


def _chains(points: Points) -> tuple[Points, Points]:
    """Return the lower and upper convex hull, both ordered by the first coordinate.

    Andrew's monotone chain algorithm (1979).
    """
    ordered = np.unique(points, axis=0)
    return _lower(ordered), _lower(ordered * (1, -1)) * (1, -1)


def _lower(ordered: Points) -> Points:
    chain: list[tuple[float, float]] = []
    for x, y in ordered.tolist():
        while len(chain) > 1 and _turn(chain[-2], chain[-1], (x, y)) <= 0:
            chain.pop()
        chain.append((x, y))
    return np.array(chain)


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _across(hull: Points, axis: Points) -> tuple[Points, Points]:
    """Return the ends of the longest line in the hull perpendicular to `axis`.

    The extent of a convex shape across an axis is greatest at one of its corners.
    """
    along = axis / np.hypot(*axis)
    turn = np.array([along, (-along[1], along[0])])
    lower, upper = _chains(hull @ turn.T)
    # At the corners only: between two of them the extent changes linearly.
    at = np.unique(np.concatenate([lower[:, 0], upper[:, 0]]))
    low = np.interp(at, lower[:, 0], lower[:, 1])
    high = np.interp(at, upper[:, 0], upper[:, 1])
    widest = int(np.round(high - low, 6).argmax())
    return (at[widest], low[widest]) @ turn, (at[widest], high[widest]) @ turn


def _line(start: Points, end: Points, spacing_mm: tuple[float, float]) -> Line:
    (row, column), (last_row, last_column) = start / spacing_mm, end / spacing_mm
    return Line(
        (float(row), float(column)),
        (float(last_row), float(last_column)),
        math.hypot(*(end - start)),
    )
