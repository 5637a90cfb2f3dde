"""The slices of each patient, few and small enough to be kept until all are judged."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.datasets.cases.target import INSIDE
from trainer.evaluation.metrics.exam import Exam, Piece
from trainer.evaluation.run.thumbnails import MARGIN, WINDOW_HU

FRAMES = 16
"""Slices of a patient, spread over those on which something was drawn or marked."""
SIDE = 220
"""Rows and columns of a frame."""


@dataclass(frozen=True, eq=False)
class Film:
    """Frames from the feet to the head, each a square around what is drawn or marked."""

    grey: NDArray[np.uint8]
    """(n, SIDE, SIDE)."""
    target: NDArray[np.uint8]
    """Likewise, values of `Target`; background beside the slice."""
    found: NDArray[np.uint8]
    """Likewise, values of `Label`."""


def film(exam: Exam) -> Film | None:
    """Return the slices of a patient; None where nothing was drawn or marked."""
    planes = [plane for piece in exam.pieces for plane in _planes(piece)]
    if not planes:
        return None
    spread = np.unique(np.linspace(0, len(planes) - 1, min(FRAMES, len(planes))).astype(int))
    frames = [_frame(*planes[index]) for index in spread]
    grey, target, found = (np.stack(each) for each in zip(*frames, strict=True))
    return Film(grey, target, found)


_Plane = tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.uint8], float]
"""HU, target, marks and the height over the width of a pixel, cut out of a slice."""


def _planes(piece: Piece) -> Iterator[_Plane]:
    """Yield the slices of a piece that show anything, all cut out at the same place."""
    axes = (slice(None),) if piece.is_volume else (None,)  # a slice alone is a series of one
    hu, target, found = piece.hu[axes], piece.target[axes], piece.found[axes]
    shown = np.isin(target, INSIDE) | (found > 0)
    if not shown.any():
        return
    rows, columns = _span(np.any(shown, axis=(0, 2))), _span(np.any(shown, axis=(0, 1)))
    row_mm, column_mm = (piece.spacing_mm or (1.0, 1.0))[-2:]
    for index in np.flatnonzero(shown.any(axis=(1, 2))):
        at = (index, rows, columns)
        yield hu[at], target[at], found[at], row_mm / column_mm


def _span(where: NDArray[np.bool_]) -> slice:
    there = np.flatnonzero(where)
    return slice(max(int(there[0]) - MARGIN, 0), int(there[-1]) + MARGIN + 1)


def _frame(
    hu: NDArray[np.int16], target: NDArray[np.uint8], found: NDArray[np.uint8], aspect: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    low, high = WINDOW_HU
    grey = (hu.astype(np.float32).clip(low, high) - low) * (255 / (high - low))
    height, width = hu.shape[0] * aspect, hu.shape[1]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    smooth, nearest = Image.Resampling.BICUBIC, Image.Resampling.NEAREST
    # Nearest for labels: a mean of 0 and 2 would be 1, liver.
    return (
        _square(grey.astype(np.uint8), size, smooth),
        _square(target, size, nearest),
        _square(found, size, nearest),
    )


def _square(
    plane: NDArray[np.uint8], size: tuple[int, int], how: Image.Resampling
) -> NDArray[np.uint8]:
    square = Image.new("L", (SIDE, SIDE))
    square.paste(Image.fromarray(plane).resize(size, how), (0, 0))
    return np.asarray(square, np.uint8)
