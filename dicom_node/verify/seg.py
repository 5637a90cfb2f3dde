"""Proof that a SEG shows its label map, where the source series is.

Read from the file's own attributes, on purpose without highdicom and without anything of
`dicom_node.results.seg`: an error of the writer should not excuse itself.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SegmentationStorage,
)

from dicom_node.errors import SegMismatch
from dicom_node.sop_classes import LABEL_MAP_SEGMENTATION
from dicom_node.tolerances import TOLERANCE_MM
from dicom_node.verify.lesions import lesion_values
from dicom_node.verify.planes import Plane, facing, planes_of, slice_at
from dicom_node.verify.subject import differing
from engine.volume import Label, LabelMap

MEANS = {"10200004": Label.LIVER, "108369006": Label.TUMOUR}
"""Segmented Property Type (SNOMED CT) to label."""

NAMES: dict[int | None, str] = {None: "labels", **{label: label.name.lower() for label in Label}}

UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
SYNTAXES = {
    (SegmentationStorage, "BINARY"): UNCOMPRESSED,
    (LABEL_MAP_SEGMENTATION, "LABELMAP"): (*UNCOMPRESSED, RLELossless),
}
"""SOP class and Segmentation Type, and how each may be encoded."""


@dataclass(frozen=True, eq=False)
class SegFrame:
    """One frame of the SEG."""

    number: int
    what: str
    value: int | None
    """Value of its voxels in the label map; None where the frame shows every value."""
    plane: Plane
    sources: tuple[tuple[str, int | None], ...]
    """Instances, and frames of them, that it names as its sources."""

    def __str__(self) -> str:
        return f"frame {self.number} ({self.what})"


def verify_seg(
    seg_file: Path | bytes,
    sources: Sequence[Dataset],
    label_map: LabelMap,
    *,
    per_lesion: bool = False,
) -> None:
    """Return if the SEG shows each labelled plane once, as labelled, on its source's slice.

    Args:
        seg_file: the SEG as it will leave, a file or its bytes.
        sources: the instances of the source series, in any order; pixels are not needed.
        label_map: the labels that the SEG should show.
        per_lesion: each lesion should be a segment of its own, the largest first.

    Raises:
        SegMismatch: names the frame that differs, and in what.
    """
    seg = _read(seg_file)
    _check_subject(seg, sources, label_map)
    try:
        values = _values(seg, per_lesion=per_lesion)
        frames = list(_frames(seg, values))
    except (AttributeError, KeyError, IndexError, ValueError) as error:  # an attribute is missing
        raise SegMismatch(f"SEG cannot be read back: {error!r}") from error
    slices = {(plane.instance_uid, plane.frame): plane for plane in planes_of(sources)}
    shown = facing(lesion_values(label_map) if per_lesion else label_map, frames[0].plane)
    for frame in frames:
        _check_source(frame, slices)
    masks = _Masks(seg, values)
    seen = [(frame, _check_mask(frame, masks, shown)) for frame in frames]
    # Plane by plane: `unique` of the whole volume takes a second.
    marked = [set(np.unique(plane[plane > 0]).tolist()) for plane in shown.labels]
    _check_complete(seen, marked)
    _check_segments(values, set().union(*marked))


def _read(seg_file: Path | bytes) -> Dataset:
    try:
        seg = dcmread(BytesIO(seg_file) if isinstance(seg_file, bytes) else seg_file)
    except (InvalidDicomError, EOFError) as error:
        raise SegMismatch(f"SEG cannot be read back: {error}") from error
    encoding = seg.get("SOPClassUID"), seg.get("SegmentationType")
    if encoding not in SYNTAXES:
        raise SegMismatch(f"not a BINARY segmentation, and no LABELMAP: {encoding}")
    if seg.file_meta.TransferSyntaxUID not in SYNTAXES[encoding]:
        raise SegMismatch(f"SEG is encoded as {seg.file_meta.TransferSyntaxUID.name}")
    return seg


def _check_subject(seg: Dataset, sources: Sequence[Dataset], label_map: LabelMap) -> None:
    for source in sources:
        # A source without one was given a derived one, which the result must have then.
        expected = source.get("FrameOfReferenceUID") or label_map.geometry.frame_of_reference
        # Viewers do not compare it, and show a SEG over another frame of reference all the same.
        for uid in (seg.get("FrameOfReferenceUID"), label_map.geometry.frame_of_reference):
            if uid != expected:
                raise SegMismatch(f"frame of reference {uid} is not the source's, {expected}")
    if keyword := differing(seg, sources):
        raise SegMismatch(f"{keyword} is not the source's")  # no patient in a log


def _values(seg: Dataset, *, per_lesion: bool) -> dict[int, int]:
    """Return segment number to value: 1 for liver, 2 for all tumours, or 2, 3, … for lesions."""
    values: dict[int, int] = {}
    lesions = 0
    for item in seg.SegmentSequence:
        kind = MEANS[item.SegmentedPropertyTypeCodeSequence[0].CodeValue]
        # The values of `lesion_values`: 1 for the liver, 2 for the largest lesion, and so on.
        values[int(item.SegmentNumber)] = int(kind) + (lesions if per_lesion else 0)
        lesions += kind is Label.TUMOUR
    return values


def _frames(seg: Dataset, values: Mapping[int, int]) -> Iterator[SegFrame]:
    shared = seg.SharedFunctionalGroupsSequence[0]
    planes = planes_of([seg])
    # Three statements of one number; a reader may believe any of them.
    if not len(planes) == len(seg.PerFrameFunctionalGroupsSequence) == seg.NumberOfFrames:
        raise SegMismatch(f"{len(planes)} frames are described, {seg.NumberOfFrames} counted")
    for own, plane in zip(seg.PerFrameFunctionalGroupsSequence, planes, strict=True):
        if seg.SegmentationType == "LABELMAP":
            yield SegFrame(plane.frame or 1, "Labels", None, plane, _sources(own))
            continue
        # A functional group is in one of the two places (PS3.3 C.7.6.16).
        group = own if "SegmentIdentificationSequence" in own else shared
        value = values[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
        kind = Label.LIVER if value == Label.LIVER else Label.TUMOUR
        yield SegFrame(plane.frame or 1, kind.name.capitalize(), value, plane, _sources(own))


def _sources(frame: Dataset) -> tuple[tuple[str, int | None], ...]:
    return tuple(
        (str(image.ReferencedSOPInstanceUID), image.get("ReferencedFrameNumber"))
        for item in frame.get("DerivationImageSequence", [])
        for image in item.SourceImageSequence
    )


def _check_source(frame: SegFrame, slices: Mapping[tuple[str, int | None], Plane]) -> None:
    if len(frame.sources) != 1:
        raise SegMismatch(f"{frame} names {len(frame.sources)} source images, not one")
    source = slices.get(frame.sources[0])
    if source is None:
        raise SegMismatch(f"{frame} is derived from {frame.sources[0]}, which is not a source")
    if source.shape != frame.plane.shape:
        raise SegMismatch(f"{frame} is {frame.plane.shape} pixels, its source {source.shape}")
    if (distance_mm := frame.plane.distance_mm(source)) > TOLERANCE_MM:
        raise SegMismatch(f"{frame} lies {distance_mm:.3f} mm from its source {frame.sources[0]}")


def _check_mask(frame: SegFrame, masks: "_Masks", shown: LabelMap) -> int:
    """Return the slice of the label map that the frame shows."""
    index = slice_at(shown, frame.plane)
    expected = shown.labels[index]
    if frame.value is not None:
        expected = expected == frame.value
    if wrong := np.count_nonzero(masks.read(frame) != expected):
        raise SegMismatch(f"{frame} differs from slice {index} of its label map in {wrong} pixels")
    return index


class _Masks:
    """The pixels of a SEG, frame by frame."""

    def __init__(self, seg: Dataset, values: Mapping[int, int]) -> None:
        self.shape = int(seg.Rows), int(seg.Columns)
        self.bits = seg.PixelData if seg.SegmentationType == "BINARY" else None
        self.numbers = seg.pixel_array.reshape(-1, *self.shape) if self.bits is None else None
        # a pixel of a number that no segment has is a value that no label map has
        self.value_of = np.full(np.iinfo(np.uint16).max + 1, -1, np.int64)
        # Background stays background: no segment has the number 0.
        self.value_of[[0, *values]] = [0, *values.values()]

    def read(self, frame: SegFrame) -> NDArray[Any]:
        """Return the bits of a BINARY frame, or the values of a LABELMAP one."""
        if self.numbers is not None:
            values: NDArray[Any] = self.value_of[self.numbers[frame.number - 1]]
            return values
        assert self.bits is not None
        return _unpack(frame, self.bits, self.shape)


def _unpack(frame: SegFrame, packed: bytes, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return one frame: bits follow one another, the first in the lowest place (PS3.5 8.1.1)."""
    pixels = shape[0] * shape[1]
    # A frame need not begin with a byte, unless rows times columns is a multiple of 8.
    first, skip = divmod((frame.number - 1) * pixels, 8)
    part = np.frombuffer(packed, np.uint8)[first : first + (skip + pixels + 7) // 8]
    bits = np.unpackbits(part, bitorder="little")[skip : skip + pixels]
    if bits.size != pixels:
        raise SegMismatch(f"{frame} has {bits.size} of {pixels} pixels")
    return bits.reshape(shape).view(np.bool_)


def _check_segments(values: Mapping[int, int], marked: Set[int]) -> None:
    """Each segment must have voxels: a viewer lists an empty one as a finding."""
    for number, value in values.items():
        if value not in marked:
            raise SegMismatch(f"segment {number} is described and has no voxel")
    if len(set(values.values())) != len(values):
        raise SegMismatch(f"{len(values)} segments show {len(set(values.values()))} findings")


def _check_complete(seen: list[tuple[SegFrame, int]], marked: Sequence[Set[int]]) -> None:
    """Each labelled plane must be shown once; `None` stands for all of its values.

    Args:
        seen: the frames, and the slice that each shows.
        marked: values in each slice of the label map.
    """
    every_value = all(frame.value is None for frame, _ in seen)
    found = [(frame.value, index) for frame, index in seen]
    names = {frame.value: frame.what.lower() for frame, _ in seen} | NAMES
    labelled: set[tuple[int | None, int]] = {
        (value, index)
        for index, here in enumerate(marked)
        if here
        for value in ([None] if every_value else here)
    }
    # Both ways: all that is labelled is shown, and nothing is shown twice. What is shown and not
    # labelled has failed in `_check_mask`.
    if missing := labelled.difference(found):
        value, index = min(missing, key=lambda each: (each[0] or 0, each[1]))
        raise SegMismatch(f"no frame shows {names.get(value, value)} in slice {index}")
    if len(found) != len(labelled):
        (value, index), times = Counter(found).most_common(1)[0]
        raise SegMismatch(f"{times} frames show {names.get(value, value)} in slice {index}")
