"""Differences between two SEG objects of the same series: in voxels, and in attributes."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.tag import BaseTag

from dicom_node.sop_classes import LABEL_MAP_SEGMENTATION

OF_THE_MASKS = {
    "PixelData",
    "NumberOfFrames",
    "PerFrameFunctionalGroupsSequence",
    "DimensionOrganizationSequence",
    "DimensionIndexSequence",
}
"""Attributes that differ where the masks do, or name dimensions only."""


@dataclass(frozen=True)
class SegmentDifference:
    """One segment in two objects."""

    label: str
    voxels: int
    """In the first object."""
    differing: int
    """In only one of the two."""


def seg_differences(first: Path, second: Path) -> list[SegmentDifference]:
    """Compare two SEGs in any encoding, segment by segment and source image by source image.

    Segments are matched by their labels. All voxels of one that only one of the objects has differ.
    """
    one, other = _Masks(dcmread(first)), _Masks(dcmread(second))
    return [_compared(label, one, other) for label in dict.fromkeys([*one.labels, *other.labels])]


def attribute_differences(
    first: Dataset, second: Dataset, left_out: Collection[BaseTag]
) -> list[str]:
    """Return the names of the attributes, of the whole object, in which two objects differ.

    The values are not returned: they may name the patient.

    Args:
        first: an object.
        second: another.
        left_out: attributes that are not compared, besides those of the masks.
    """
    tags = sorted({*first.keys(), *second.keys()} - {*left_out})
    elements = [(first.get(tag), second.get(tag)) for tag in tags]
    differing = [one or other for one, other in elements if one != other]
    return [each.name for each in differing if each.keyword not in OF_THE_MASKS]


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


class _Masks:
    """Masks of a SEG by segment label and source image, read without the library that wrote it."""

    def __init__(self, seg: Dataset) -> None:
        self.labels = {
            str(each.SegmentLabel): int(each.SegmentNumber) for each in seg.SegmentSequence
        }
        self.sources: dict[tuple[str, int], dict[int, int]] = {}
        """Source instance and frame to segment number (0: all of them) to frame of the SEG."""
        self._pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
        self._numbered = seg.SOPClassUID == LABEL_MAP_SEGMENTATION
        (shared,) = seg.SharedFunctionalGroupsSequence
        for index, own in enumerate(seg.PerFrameFunctionalGroupsSequence):
            groups = Dataset({**shared, **own})  # an only segment is named once for all frames
            image = groups.DerivationImageSequence[0].SourceImageSequence[0]
            source = str(image.ReferencedSOPInstanceUID), int(image.get("ReferencedFrameNumber", 1))
            self.sources.setdefault(source, {})[self._segment(groups)] = index

    def _segment(self, groups: Dataset) -> int:
        if self._numbered:
            return 0
        return int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)

    def mask(self, label: str, source: tuple[str, int]) -> NDArray[np.bool_]:
        """Return one segment on one source image as (row, column)."""
        number, frames = self.labels.get(label), self.sources.get(source, {})
        index = frames.get(0 if self._numbered else number or -1)
        if number is None or index is None:
            return np.zeros(self._pixels.shape[1:], np.bool_)
        mask: NDArray[np.bool_] = self._pixels[index] == (number if self._numbered else 1)
        return mask


def _compared(label: str, one: _Masks, other: _Masks) -> SegmentDifference:
    voxels = differing = 0
    for source in {**one.sources, **other.sources}:
        mask = one.mask(label, source)
        voxels += int(np.count_nonzero(mask))
        differing += int(np.count_nonzero(mask != other.mask(label, source)))
    return SegmentDifference(label, voxels, differing)
