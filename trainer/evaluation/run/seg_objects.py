"""Label maps from DICOM SEG objects of any software."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dicom_node.annotations import UnreadableDrawing, find_annotated, segmentation_masks
from dicom_node.series import read_series
from engine.volume import Geometry, Label, LabelMap
from trainer.datasets.cases.case import Case
from trainer.errors import BadData


@dataclass(frozen=True)
class SegFile:
    """A SEG object on the disk."""

    path: Path
    series: str
    """Series Instance UID of the images that it refers to."""
    frame_of_reference: str


def find_segs(folder: Path) -> tuple[SegFile, ...]:
    """Return the SEG objects under a folder.

    Raises:
        BadData: there is none, or two refer to one series.
    """
    found = []
    for each in find_annotated(sorted(path for path in folder.rglob("*") if path.is_file())):
        if len(each.segmentations) > 1:
            names = " and ".join(path.name for path in each.segmentations)
            raise BadData(f"{names} refer to one series, {each.series_uid}: leave one of them")
        (header,) = read_series(each.segmentations)
        frame = str(header.get("FrameOfReferenceUID") or "")
        found.append(SegFile(each.segmentations[0], each.series_uid, frame))
    if not found:
        raise BadData(f"no DICOM SEG object in {folder}: name a folder that holds some")
    return tuple(found)


def seg_of(case: Case, segs: Sequence[SegFile]) -> SegFile | None:
    """Return the SEG of a case: that of its series, else the only one in its frame of reference.

    Many data sets do not keep the series' UIDs, but the frame of reference stays.
    """
    for seg in segs:
        if seg.series and seg.series == case.series:
            return seg
    frame = case.volume.geometry.frame_of_reference
    near = [seg for seg in segs if frame and seg.frame_of_reference == frame]
    # Two series of one study share a frame of reference; guessing would judge the wrong one.
    return near[0] if len(near) == 1 else None


def read_seg(path: Path, grid: Geometry) -> LabelMap:
    """Return the liver and tumours of a SEG on the grid of its series.

    Raises:
        BadData: it lies elsewhere than the grid, cannot be read, or has neither.
    """
    (seg,) = read_series([path])
    try:
        masks = segmentation_masks(seg, grid)
    except UnreadableDrawing as error:
        raise BadData(f"{path}: {error}") from error
    if not masks:
        raise BadData(f"{path} has no segment of the liver and none of a tumour in it")
    labels = np.zeros(grid.shape, np.uint8)
    # In this order: a tumour drawn inside a liver's outline wins.
    for label in (Label.LIVER, Label.TUMOUR):
        if label in masks:
            labels[masks[label]] = label
    return LabelMap(labels, grid)
