"""A few slices of each patient, small enough to be kept until all are judged."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cases.target import INSIDE
from trainer.evaluation.metrics.exam import Exam, Structure

WINDOW_HU = -60, 180
"""HU of black and of white."""
MARGIN = 20
"""Pixels around what is marked."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """One slice around the liver, with what was drawn and what was found."""

    grey: NDArray[np.uint8]
    target: NDArray[np.uint8]
    """Values of `Target`."""
    found: NDArray[np.uint8]
    """Values of `Label`."""
    aspect: float
    """Height over width of a pixel."""


@dataclass(frozen=True, eq=False)
class _Plane:
    hu: NDArray[np.int16]
    target: NDArray[np.uint8]
    found: NDArray[np.uint8]
    spacing_mm: tuple[float, ...]


def sketch(exam: Exam, structure: Structure) -> Sketch | None:
    """Return the slice of a patient that shows a structure, drawn or found, at its largest."""
    best: _Plane | None = None
    most = 0
    for found, true, piece in exam.masks(structure):
        flat = found | true if piece.is_volume else (found | true)[None]
        areas = np.count_nonzero(flat, axis=(1, 2))
        index = int(areas.argmax())
        if areas[index] > most:
            most = int(areas[index])
            at = (index,) if piece.is_volume else ()
            # Only the ratio counts, so 1 and 1 do where the spacing is lost.
            spacing_mm = (piece.spacing_mm or (1.0, 1.0))[-2:]
            best = _Plane(piece.hu[at], piece.target[at], piece.found[at], spacing_mm)
    return _cropped(best) if best is not None else None


def _cropped(plane: _Plane) -> Sketch:
    drawn = np.isin(plane.target, INSIDE)
    box = _box(drawn | (plane.found > 0))
    low, high = WINDOW_HU
    grey = (plane.hu[box].astype(np.float32).clip(low, high) - low) * (255 / (high - low))
    rows_mm, columns_mm = plane.spacing_mm
    return Sketch(
        grey.astype(np.uint8),
        # Copies: a view would keep the patient's whole volume in memory.
        plane.target[box].copy(),
        plane.found[box].copy(),
        rows_mm / columns_mm,
    )


def _box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return (
        slice(max(int(rows[0]) - MARGIN, 0), int(rows[-1]) + MARGIN + 1),
        slice(max(int(columns[0]) - MARGIN, 0), int(columns[-1]) + MARGIN + 1),
    )
