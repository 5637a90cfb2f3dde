"""Anatomical clean-up of labels in 3-D: one liver, tumours inside of it, no holes, no specks.

Components are 6-connected: contact at an edge or a corner is too thin to join a neighbouring
organ's false positive to the liver.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.segmentation.components import Runs, find_runs, padded
from engine.segmentation.packed_labels import PackedLabels
from engine.volume import Label, LabelMap

SMALLEST_TUMOUR_MM3 = 65.0
"""A sphere of 5 mm diameter."""

FACES: Final = 6
"""Connectivity of components, as cc3d names it."""

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Cleaned:
    """Labels after the clean-up."""

    labels: NDArray[np.uint8]
    """(slices, rows, columns)."""
    dropped: int
    """Voxels that were marked before and are background now."""


def clean(label_map: LabelMap, smallest_tumour_mm3: float = SMALLEST_TUMOUR_MM3) -> LabelMap:
    """Return the labels as one liver with its tumours.

    Only the largest component of liver and tumours is kept. Background that it encloses is added
    to it: to a tumour if a tumour alone encloses it, otherwise to the liver. Tumour components
    smaller than `smallest_tumour_mm3` become liver.
    """
    least = math.ceil(smallest_tumour_mm3 / (label_map.geometry.voxel_ml * 1000))
    cleaned = clean_packed(PackedLabels.of(label_map.labels), least)
    return LabelMap(cleaned.labels, label_map.geometry)


def clean_packed(labels: PackedLabels, smallest_tumour: int) -> Cleaned:
    """Clean packed labels, as `clean` does.

    Args:
        labels: of the whole volume.
        smallest_tumour: voxels of the smallest tumour that is kept.
    """
    cleaned = np.zeros(labels.shape, np.uint8)  # untouched pages of it take no memory
    box = box_of(labels.marked)
    if box is None:
        return Cleaned(cleaned, 0)
    marked = padded(labels.marked[box])
    runs = find_runs(marked)
    # A component's number is the index of its first run, where `sizes` has its size.
    is_liver = runs.components == runs.sizes.argmax()
    liver, others = runs.of(is_liver), runs.of(~is_liver)
    holes = liver.holes()
    tumour = _tumours(padded(labels.tumour[box]), marked, liver, smallest_tumour)

    flat = np.unpackbits(marked.reshape(-1))
    flat[others.voxels()] = Label.BACKGROUND
    # Liver first, tumours over it: a tumour's own holes belong to it.
    flat[holes.voxels()] = Label.LIVER
    flat[tumour.voxels()] = Label.TUMOUR
    slices, rows, _ = box
    # Without the padding, except that of the columns, which the last line cuts off.
    found = flat.reshape(*marked.shape[:2], -1)[1:-1, :-1]
    first = 8 * box[2].start
    columns = slice(first, min(8 * box[2].stop, labels.columns))
    cleaned[slices, rows, columns] = found[:, :, : columns.stop - first]
    kept = _inside(others, holes)
    return Cleaned(cleaned, int(others.lengths[~kept].sum()))


def box_of(marked: NDArray[np.uint8]) -> Box | None:
    """Return the bounding box of all non-zero elements, or None without any."""
    slices = np.flatnonzero(marked.any(axis=(1, 2)))
    if not len(slices):
        return None
    slab = slice(slices[0], slices[-1] + 1)
    shadow = np.bitwise_or.reduce(marked[slab], axis=0)
    rows, columns = (np.flatnonzero(shadow.any(axis=axis)) for axis in (1, 0))
    return slab, slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _tumours(
    bits: NDArray[np.uint8], marked: NDArray[np.uint8], liver: Runs, smallest: int
) -> Runs:
    """Return the tumours in the liver, with the background that they enclose, without specks."""
    tumour = find_runs(bits)
    tumour = tumour.of(_inside(tumour, liver))
    enclosed = tumour.holes().voxels()
    # packbits begins at the highest bit: the first of eight voxels is 128.
    background = enclosed[marked.reshape(-1)[enclosed >> 3] & (128 >> (enclosed & 7)) == 0]
    if len(background):
        filled = np.zeros(8 * marked.size, np.uint8)
        filled[tumour.voxels()] = filled[background] = 1
        tumour = find_runs(np.packbits(filled).reshape(marked.shape))
    return tumour.of(tumour.sizes[tumour.components] >= max(smallest, 1))


def _inside(runs: Runs, others: Runs) -> NDArray[np.bool_]:
    """Return which runs lie within one of the others; a run must not cross another's end."""
    before = np.searchsorted(others.starts, runs.starts, "right") - 1
    ends = np.append(others.ends, 0)  # index -1: no other run begins before it
    return ends[before] >= runs.ends
