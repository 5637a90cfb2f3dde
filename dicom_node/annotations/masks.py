"""Masks of a SEG, on the grid of the series that it was drawn on."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_node.annotations.description import (
    MARKED,
    drawn_by_persons,
    segments_of,
    unnamed_segments,
)
from dicom_node.annotations.frame_content import located_by_position
from dicom_node.error_location import error_location
from dicom_node.errors import UnreadableDrawing
from dicom_node.tolerances import TOLERANCE_MM
from engine.volume import Geometry, Label

LARGEST = 4
"""Voxels of a SEG, from its first frame to its last, for each of the series."""


def segmentation_masks(seg: Dataset, grid: Geometry) -> Mapping[Label, NDArray[np.bool_]]:
    """Return what a SEG marks as liver and as tumour, each on `grid`; what it has no segment of
    is not there.

    Raises:
        UnreadableDrawing: the SEG cannot be read, or lies on another grid.
    """
    if seg.get("FrameOfReferenceUID") != grid.frame_of_reference:
        raise UnreadableDrawing(
            f"SEG lies in frame of reference {seg.get('FrameOfReferenceUID')}, its series in "
            f"{grid.frame_of_reference}; put it on the series it was drawn on"
        )
    try:
        opened = hd.seg.Segmentation.from_dataset(located_by_position(seg), copy=False)
        _require_extent(opened, grid)
        _require_names(opened, grid)
        numbers = {label: segments_of(opened, label) for label in MARKED}
        return MappingProxyType(
            {label: _mask(opened, each, grid) for label, each in numbers.items() if each}
        )
    except (ValueError, AttributeError, KeyError, IndexError, RuntimeError, TypeError) as error:
        # Not in its words: highdicom quotes values, and the node logs this.
        raise UnreadableDrawing(f"SEG cannot be read: {error_location(error)}") from error


def masks_by_persons(seg: Dataset, grid: Geometry) -> Mapping[Label, NDArray[np.bool_]]:
    """Return the same of the structures that a person drew; the liver has its tumours in it.

    Raises:
        UnreadableDrawing: as above.
    """
    masks, drawn = segmentation_masks(seg, grid), drawn_by_persons(seg)
    found = {label: mask for label, mask in masks.items() if label in drawn}
    # Whoever drew the tumours: a liver drawn around them does not end there.
    if Label.LIVER in found and Label.TUMOUR in masks:
        found[Label.LIVER] = found[Label.LIVER] | masks[Label.TUMOUR]
    return MappingProxyType(found)


def _require_extent(seg: hd.seg.Segmentation, grid: Geometry) -> None:
    """Return if the frames lie no further apart than a series of this size allows.

    Raises:
        UnreadableDrawing: they do; a volume between them would take all memory.
    """
    extent = seg.get_volume_geometry()
    if extent is not None and math.prod(extent.spatial_shape) > LARGEST * math.prod(grid.shape):
        raise UnreadableDrawing(
            f"SEG spans {'x'.join(map(str, extent.spatial_shape))} voxels, its series"
            f" {'x'.join(map(str, grid.shape))}; save it on the grid of the series"
        )


def _require_names(seg: hd.seg.Segmentation, grid: Geometry) -> None:
    """Return if every segment on which something is marked has a meaning.

    Raises:
        UnreadableDrawing: one has none; it may be a lesion that a person added.
    """
    unnamed = unnamed_segments(seg)
    # All at once: each look decodes every frame, and a SEG may have thousands of segments.
    if unnamed and _mask(seg, unnamed, grid).any():
        which = "segment" if len(unnamed) == 1 else "one of the segments"
        raise UnreadableDrawing(
            f"{which} {', '.join(map(str, unnamed))} is marked and still has the name that the"
            ' viewer gave it; name it in the viewer, such as "Lesion 4", and save it again'
        )


def _mask(seg: hd.seg.Segmentation, numbers: list[int], grid: Geometry) -> NDArray[np.bool_]:
    fractional = seg.SegmentationType == "FRACTIONAL"
    # Combined where it can be: an axis of segments takes the memory of a volume for each.
    chosen = {"combine_segments": False} if fractional else {"skip_overlap_checks": True}
    volume = seg.get_volume(
        segment_numbers=numbers,
        **{"combine_segments": True, "relabel": False, **chosen},
        dtype=np.float32 if fractional else None,
    ).to_patient_orientation("HPL")
    start = _start(volume, grid)
    mask = np.zeros(grid.shape, np.bool_)
    inside, of_seg = _overlap(start, volume.spatial_shape, grid.shape)
    # Half of it, in a FRACTIONAL SEG, whose values run from 0 to 1 here.
    part = volume.array[of_seg]
    mask[inside] = (part >= 0.5).any(axis=-1) if fractional else np.isin(part, numbers)
    return mask


def _start(volume: hd.Volume, grid: Geometry) -> tuple[int, ...]:
    """Return the voxel of `grid` that the first voxel of `volume` is."""
    steps = np.asarray(volume.affine)[:3, :3] - grid.affine[:3, :3]
    if volume.spatial_shape[0] == 1:
        steps[:, 0] = 0  # a single slice has no step
    # At the far corner: a small difference of steps grows with every voxel.
    reach = np.abs(steps * (np.array(volume.spatial_shape) - 1)).max()
    corner = np.linalg.solve(grid.affine, [*np.asarray(volume.affine)[:3, 3], 1.0])[:3]
    off_mm = np.abs((corner - corner.round()) * grid.spacing).max()
    if reach > TOLERANCE_MM or off_mm > TOLERANCE_MM:
        raise UnreadableDrawing(
            f"voxels of the SEG lie {max(reach, off_mm):.2f} mm from those of its series; save it "
            "on the grid of the series"
        )
    return tuple(int(each) for each in corner.round())


def _overlap(
    start: tuple[int, ...], size: tuple[int, ...], whole: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return which voxels two grids share, in the whole one and in the part."""
    bounds = [
        (max(0, first), min(total, first + length))
        for first, length, total in zip(start, size, whole, strict=True)
    ]
    inside = tuple(slice(low, max(low, high)) for low, high in bounds)
    part = tuple(
        slice(each.start - first, each.stop - first)
        for each, first in zip(inside, start, strict=True)
    )
    return inside, part
