"""Anatomical clean-up of labels in 3-D: one liver, tumours inside it, no holes, no specks.

Pieces are voxels that share faces (6-connected): a touch at an edge or a corner is too thin to
make a neighbouring organ's false mark part of the liver.
"""

import math
from typing import Any, Final

import cc3d
import numpy as np
from numpy.typing import NDArray

from engine.volume import Label, LabelMap

SMALLEST_TUMOUR_MM3 = 65.0
"""A ball 5 mm across."""

FACES: Final = 6
SLABS = 16
"""Parts in which voxels are counted: NumPy counts 32-bit numbers on a 64-bit copy of them."""


def clean(label_map: LabelMap, smallest_tumour_mm3: float = SMALLEST_TUMOUR_MM3) -> LabelMap:
    """Return the labels as one liver with its tumours.

    The largest piece of liver with tumours stays and nothing else does. What it encloses on all
    sides belongs to it: to a tumour, where a tumour alone encloses it. Pieces of tumour smaller
    than `smallest_tumour_mm3` become liver.
    """
    cleaned = np.zeros(label_map.labels.shape, np.uint8)  # zeros_like would touch every page
    box = box_of(label_map.labels)
    if box is not None:
        marked = label_map.labels[box]
        least = math.ceil(smallest_tumour_mm3 / (label_map.geometry.voxel_ml * 1000))
        liver = _largest_piece(marked > 0)
        tumour = (marked == Label.TUMOUR) & liver
        tumour |= _enclosed(tumour) & (marked == Label.BACKGROUND)
        liver |= _enclosed(liver)
        tumour = _without_specks(tumour, least)
        cleaned[box] = np.where(tumour, np.uint8(Label.TUMOUR), liver.view(np.uint8))
    return LabelMap(cleaned, label_map.geometry)


def box_of(marked: NDArray[np.uint8]) -> tuple[slice, slice, slice] | None:
    """Return the smallest box around everything that is not 0, if anything is not."""
    slices = np.flatnonzero(marked.any(axis=(1, 2)))
    if not len(slices):
        return None
    slab = slice(slices[0], slices[-1] + 1)
    shadow = np.bitwise_or.reduce(marked[slab], axis=0)
    rows, columns = (np.flatnonzero(shadow.any(axis=axis)) for axis in (1, 0))
    return slab, slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    pieces, sizes = _pieces(mask)
    largest: NDArray[np.bool_] = pieces == sizes.argmax()
    return largest


def _without_specks(mask: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    """Drop pieces of fewer than `least` voxels."""
    box = box_of(mask.view(np.uint8))
    if box is None:
        return mask
    kept = np.zeros_like(mask)
    pieces, sizes = _pieces(mask[box])
    kept[box] = (sizes >= max(least, 1))[pieces]
    return kept


def _enclosed(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark what lies outside the mask but cannot reach the border of its box."""
    holes = np.zeros_like(mask)
    box = box_of(mask.view(np.uint8))
    if box is not None:
        pieces, sizes = _pieces(~mask[box])
        inner = sizes > 0
        for axis in range(3):
            for end in (0, -1):
                inner[np.unique(pieces.take(end, axis=axis))] = False
        holes[box] = inner[pieces]
    return holes


def _pieces(mask: NDArray[np.bool_]) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.int64]]:
    """Number the pieces from 1; the voxels of each, with 0 for what is not in the mask."""
    pieces, count = cc3d.connected_components(
        mask, connectivity=FACES, binary_image=True, return_N=True
    )
    sizes = np.zeros(count + 1, np.int64)
    for slab in np.array_split(pieces, SLABS):
        sizes += np.bincount(slab.ravel(), minlength=count + 1)
    sizes[0] = 0
    return pieces, sizes
