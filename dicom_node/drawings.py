"""What a SEG marks as liver and as tumour, and who drew it, whichever software wrote it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicom_node.errors import UnreadableDrawing
from engine.volume import Geometry, Label

TOLERANCE_MM = 0.1
"""How far a voxel of a SEG may lie from the series' own; positions are rounded in many files."""

LIVER = (codes.SCT.Liver,)
TUMOUR = (
    codes.SCT.Neoplasm,
    codes.SCT.NeoplasmPrimary,
    codes.SCT.NeoplasmSecondary,
    codes.SCT.Metastasis,
    codes.SCT.Mass,
    codes.SCT.Lesion,
    Code("86049000", "SCT", "Malignant neoplasm, primary"),
    Code("25370001", "SCT", "Hepatocellular carcinoma"),
    Code("126851005", "SCT", "Neoplasm of liver"),
    Code("94381002", "SCT", "Secondary malignant neoplasm of liver"),
    Code("300331000", "SCT", "Lesion of liver"),
)
"""Segmented Property Types; the older SRT codes are equal to theirs in SNOMED CT."""

MARKED = {Label.LIVER: LIVER, Label.TUMOUR: TUMOUR}


class Author(StrEnum):
    """Who drew."""

    HEPAR = "Hepar"
    MACHINE = "another machine"
    PERSON = "a person"


@dataclass(frozen=True)
class Drawing:
    """What a SEG says of itself."""

    series_uid: str
    """The series it was drawn on; empty where it does not say."""
    author: Author
    """A person as soon as one segment is MANUAL or SEMIAUTOMATIC (0062,0008)."""
    after_hepar: bool
    """Hepar stands among the equipment that contributed."""
    marks: frozenset[Label]
    """What it has segments of, empty or not."""
    content_label: str
    written: str
    """Content Date and Time, so that the newest sorts last."""


def describe_drawing(seg: Dataset) -> Drawing:
    """Return what a SEG's header says of it."""
    types = {str(each.get("SegmentAlgorithmType") or "") for each in seg.get("SegmentSequence", ())}
    by_hepar = seg.get("Manufacturer") == "Hepar"
    machine = Author.HEPAR if by_hepar else Author.MACHINE
    contributors = [
        str(each.get("Manufacturer") or "") for each in seg.get("ContributingEquipmentSequence", ())
    ]
    return Drawing(
        series_uid=drawn_on(seg),
        author=Author.PERSON if types & {"MANUAL", "SEMIAUTOMATIC"} else machine,
        after_hepar=by_hepar or "Hepar" in contributors,
        marks=frozenset(label for label in MARKED if _segments(seg, label)),
        content_label=str(seg.get("ContentLabel") or ""),
        written=f"{seg.get('ContentDate') or ''}{seg.get('ContentTime') or ''}",
    )


def describe_metadata(metadata: Mapping[str, Any]) -> Drawing:
    """Return the same of a SEG's metadata in JSON (PS3.18 F), as WADO-RS gives it."""
    return describe_drawing(Dataset.from_json(dict(metadata)))


def drawn_on(seg: Dataset) -> str:
    """Return the UID of the series that a SEG refers to; empty where it names none or several."""
    uids = {str(each.SeriesInstanceUID) for each in seg.get("ReferencedSeriesSequence") or ()}
    return uids.pop() if len(uids) == 1 else ""


def drawn_masks(seg: Dataset, grid: Geometry) -> Mapping[Label, NDArray[np.bool_]]:
    """Return what a SEG marks as liver and as tumour, each on `grid`; what it has no segment of
    is not there.

    Segments of tumours elsewhere, as their anatomic region says, are left out.

    Raises:
        UnreadableDrawing: the SEG cannot be read, or lies on another grid.
    """
    if seg.get("FrameOfReferenceUID") != grid.frame_of_reference:
        raise UnreadableDrawing(
            f"SEG lies in frame of reference {seg.get('FrameOfReferenceUID')}, its series in "
            f"{grid.frame_of_reference}; put it on the series it was drawn on"
        )
    try:
        opened = hd.seg.Segmentation.from_dataset(seg, copy=False)
        numbers = {label: _segments(opened, label) for label in MARKED}
        return MappingProxyType(
            {label: _mask(opened, each, grid) for label, each in numbers.items() if each}
        )
    except (ValueError, AttributeError, KeyError, IndexError, RuntimeError, TypeError) as error:
        raise UnreadableDrawing(f"SEG cannot be read: {error}") from error


def _segments(seg: Dataset, label: Label) -> list[int]:
    return [
        int(item.SegmentNumber)
        for item in seg.get("SegmentSequence") or ()
        for kind in item.get("SegmentedPropertyTypeCodeSequence") or ()
        if _code(kind) in MARKED[label] and _in_liver(item)
    ]


def _in_liver(item: Dataset) -> bool:
    regions = item.get("AnatomicRegionSequence") or ()
    return not regions or any(_code(region) in LIVER for region in regions)


def _code(item: Dataset) -> Code:
    return Code(
        str(item.get("CodeValue") or item.get("LongCodeValue")),
        str(item.get("CodingSchemeDesignator") or ""),
        str(item.get("CodeMeaning") or ""),
    )


def _mask(seg: hd.seg.Segmentation, numbers: list[int], grid: Geometry) -> NDArray[np.bool_]:
    volume = seg.get_volume(
        segment_numbers=numbers, combine_segments=False, dtype=np.uint8, rescale_fractional=False
    ).to_patient_orientation("HPL")
    start = _start(volume, grid)
    mask = np.zeros(grid.shape, np.bool_)
    inside, of_seg = _overlap(start, volume.spatial_shape, grid.shape)
    mask[inside] = volume.array[of_seg].any(axis=-1)
    return mask


def _start(volume: hd.Volume, grid: Geometry) -> tuple[int, ...]:
    """Return the voxel of `grid` that the first voxel of `volume` is."""
    steps = np.asarray(volume.affine)[:3, :3] - grid.affine[:3, :3]
    if volume.spatial_shape[0] == 1:
        steps[:, 0] = 0  # a single slice has no step
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
