"""Differences between two SEG objects of the same series, in voxels."""

from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom import Dataset, dcmread


@dataclass(frozen=True)
class SegmentDifference:
    """One segment in two objects."""

    label: str
    voxels: int
    """In the first object."""
    differing: int
    """In only one of the two."""


def seg_differences(first: Path, second: Path) -> list[SegmentDifference]:
    """Compare two SEGs, segment by segment and plane by plane.

    Raises:
        ValueError: they have different segments, or refer to no source images.
    """
    one, other = hd.seg.segread(first), hd.seg.segread(second)
    labels = {int(each.SegmentNumber): str(each.SegmentLabel) for each in one.SegmentSequence}
    if labels != {
        int(each.SegmentNumber): str(each.SegmentLabel) for each in other.SegmentSequence
    }:
        raise ValueError("the two objects have different segments")
    uids = sorted(source_uids(one))
    return [
        SegmentDifference(
            label,
            int(np.count_nonzero(plane := _plane(one, uids, number))),
            int(np.count_nonzero(plane != _plane(other, uids, number))),
        )
        for number, label in sorted(labels.items())
    ]


def _labels(seg: Dataset) -> dict[int, str]:
    return {int(each.SegmentNumber): str(each.SegmentLabel) for each in seg.SegmentSequence}


def source_uids(seg: Dataset) -> set[str]:
    """Return the SOP Instance UIDs of the images that a SEG was made of."""
    return {
        str(instance.ReferencedSOPInstanceUID)
        for series in seg.get("ReferencedSeriesSequence", [])
        for instance in series.get("ReferencedInstanceSequence", [])
    }


def read_seg_header(path: Path) -> Dataset:
    """Return a SEG without its masks."""
    return dcmread(path, stop_before_pixels=True)


def _plane(seg: hd.seg.Segmentation, uids: list[str], number: int) -> np.ndarray:
    """Return one segment as (source image, row, column)."""
    masks = seg.get_pixels_by_source_instance(
        uids,
        segment_numbers=[number],
        # The planes are asked for by their sources; positions are verified elsewhere.
        ignore_spatial_locations=True,
        # Frames without a mask are left out of our SEGs.
        assert_missing_frames_are_empty=True,
    )
    return np.asarray(masks[..., 0] > 0)
