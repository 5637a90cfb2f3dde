"""Slices of any shape and spacing to squares of one side, with the field of view they had."""

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.datasets.cases.interpolation import axis_mm, interpolation
from trainer.datasets.cases.slices import Slices
from trainer.datasets.cases.target import Target

AIR_HU = -1024
"""Padding of a slice that is not square."""

BATCH = 16


def fit_square(
    hu: NDArray[np.int16],
    target: NDArray[np.uint8],
    spacing_mm: tuple[float, float],
    side: int,
) -> tuple[NDArray[np.int16], NDArray[np.uint8], float]:
    """Return slices and targets of `side` x `side` that show all of theirs, and their pixel's mm.

    What is made smaller is averaged, labels by majority; beside a slice that is no square lies
    air. A slice that has the right side already comes back as it is.

    Args:
        hu: (n, rows, columns).
        target: the same shape, values of `Target`.
        spacing_mm: between rows, between columns.
        side: rows and columns of what comes back.
    """
    rows, columns = hu.shape[1:]
    row_mm, column_mm = spacing_mm
    pixel_mm = max(rows * row_mm, columns * column_mm) / side
    # Headers round spacings: a difference of a thousandth is no other shape.
    if (rows, columns) == (side, side) and np.isclose(row_mm, column_mm, rtol=1e-3):
        return hu, target, pixel_mm
    down = _weights(rows, row_mm, side, pixel_mm)
    across = _weights(columns, column_mm, side, pixel_mm)
    beside = torch.outer(1 - down.sum(1), torch.ones(side)).clamp(min=0)
    beside = torch.maximum(beside, (1 - across.sum(1)).clamp(min=0)[None])
    # In parts: float32 copies of a whole series take gigabytes.
    small = np.empty((len(hu), side, side), np.int16)
    labels = np.empty(small.shape, np.uint8)
    for start in range(0, len(hu), BATCH):
        part = slice(start, start + BATCH)
        mean = _resampled(torch.from_numpy(hu[part].astype(np.float32)), down, across)
        small[part] = (mean + beside * AIR_HU).round().to(torch.int16).numpy()
        labels[part] = _majority(target[part], down, across)
    return small, labels, pixel_mm


def resized(slices: Slices, side: int) -> Slices:
    """Return the same slices at another side; where it is theirs already, the slices themselves."""
    if slices.side == side:
        return slices
    hu, target, _ = fit_square(slices.hu, slices.target, (1.0, 1.0), side)
    pixel_mm = slices.pixel_mm * np.float32(slices.side / side)
    others = slices.series, slices.position_mm, slices.weight, slices.slice_mm
    return Slices(hu, target, slices.patient, pixel_mm, *others)


def _weights(length: int, spacing_mm: float, side: int, pixel_mm: float) -> torch.Tensor:
    """(side, length) matrix that samples along one axis; rows beside the source are zero."""
    places = axis_mm(side, torch.tensor(pixel_mm)) / spacing_mm
    weights = interpolation(places, length, torch.tensor(pixel_mm / spacing_mm))
    return weights * (places.abs() <= length / 2)[:, None]


def _resampled(planes: torch.Tensor, down: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
    return down @ planes @ across.T


def _majority(
    target: NDArray[np.uint8], down: torch.Tensor, across: torch.Tensor
) -> NDArray[np.uint8]:
    """Return for each pixel the label that most of what it shows has."""
    # Above 0, so that pixels beside the source, which no label has a share of, stay background.
    best = torch.full((len(target), len(down), len(across)), 1e-6)
    labels = np.full(best.shape, Target.BACKGROUND, np.uint8)
    for value in np.unique(target):
        share = _resampled(torch.from_numpy((target == value).astype(np.float32)), down, across)
        more = share > best
        labels[more.numpy()] = value
        best = torch.maximum(best, share)
    return labels
