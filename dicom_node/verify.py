"""Proof that a SEG says what the label map says, where the source series is.

Read from the file's own attributes, on purpose without highdicom and without anything of
`dicom_node.seg`: an error of the writer should not excuse itself.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, SegmentationStorage

from dicom_node.errors import SegMismatch
from dicom_node.planes import TOLERANCE_MM, Plane, facing, planes_of, slice_at
from engine.volume import Label, LabelMap

MEANS = {"10200004": Label.LIVER, "108369006": Label.TUMOUR}
"""Segmented Property Type (SNOMED CT) to label."""

SAME = (
    "StudyInstanceUID",
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
)
"""What the SEG and its sources must agree on, empty or not."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of the SEG."""

    number: int
    label: Label
    plane: Plane
    sources: tuple[tuple[str, int | None], ...]
    """Instances, and frames of them, that it says it was derived from."""

    def __str__(self) -> str:
        return f"frame {self.number} ({self.label.name.capitalize()})"


def verify_seg(seg_file: Path | bytes, sources: Sequence[Dataset], label_map: LabelMap) -> None:
    """Return if the SEG shows each labelled plane once, as labelled, on its source's slice.

    Args:
        seg_file: the SEG as it will leave, a file or its bytes.
        sources: the instances of the source series, in any order; pixels are not needed.
        label_map: what the SEG should show.

    Raises:
        SegMismatch: says which frame differs, and in what.
    """
    seg = _read(seg_file)
    _check_subject(seg, sources, label_map)
    try:
        frames = list(_frames(seg))
    except (AttributeError, KeyError, IndexError, ValueError) as error:  # an attribute is missing
        raise SegMismatch(f"SEG cannot be read back: {error!r}") from error
    slices = {(plane.instance_uid, plane.frame): plane for plane in planes_of(sources)}
    shown = facing(label_map, frames[0].plane)
    for frame in frames:
        _check_source(frame, slices)
    _check_complete([(frame.label, _check_mask(frame, seg, shown)) for frame in frames], shown)


def _read(seg_file: Path | bytes) -> Dataset:
    try:
        seg = dcmread(BytesIO(seg_file) if isinstance(seg_file, bytes) else seg_file)
    except (InvalidDicomError, EOFError) as error:
        raise SegMismatch(f"SEG cannot be read back: {error}") from error
    if seg.get("SOPClassUID") != SegmentationStorage or seg.get("SegmentationType") != "BINARY":
        raise SegMismatch(
            f"not a BINARY segmentation: {seg.get('SOPClassUID')}, {seg.get('SegmentationType')}"
        )
    if seg.file_meta.TransferSyntaxUID not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        raise SegMismatch(f"SEG is encoded as {seg.file_meta.TransferSyntaxUID.name}")
    return seg


def _check_subject(seg: Dataset, sources: Sequence[Dataset], label_map: LabelMap) -> None:
    for source in sources:
        expected = source.get("FrameOfReferenceUID") or label_map.geometry.frame_of_reference
        for uid in (seg.get("FrameOfReferenceUID"), label_map.geometry.frame_of_reference):
            if uid != expected:
                raise SegMismatch(f"frame of reference {uid} is not the source's, {expected}")
        for keyword in SAME:
            if (seg.get(keyword) or "") != (source.get(keyword) or ""):
                raise SegMismatch(f"{keyword} is not the source's")  # no patient in a log


def _frames(seg: Dataset) -> Iterator[Frame]:
    shared = seg.SharedFunctionalGroupsSequence[0]
    labels = {
        int(item.SegmentNumber): MEANS[item.SegmentedPropertyTypeCodeSequence[0].CodeValue]
        for item in seg.SegmentSequence
    }
    planes = planes_of([seg])
    if not len(planes) == len(seg.PerFrameFunctionalGroupsSequence) == seg.NumberOfFrames:
        raise SegMismatch(f"{len(planes)} frames are described, {seg.NumberOfFrames} counted")
    for own, plane in zip(seg.PerFrameFunctionalGroupsSequence, planes, strict=True):
        group = own if "SegmentIdentificationSequence" in own else shared
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        yield Frame(plane.frame or 1, labels[number], plane, _sources(own))


def _sources(frame: Dataset) -> tuple[tuple[str, int | None], ...]:
    return tuple(
        (str(image.ReferencedSOPInstanceUID), image.get("ReferencedFrameNumber"))
        for item in frame.get("DerivationImageSequence", [])
        for image in item.SourceImageSequence
    )


def _check_source(frame: Frame, slices: Mapping[tuple[str, int | None], Plane]) -> None:
    if len(frame.sources) != 1:
        raise SegMismatch(f"{frame} names {len(frame.sources)} source images, not one")
    source = slices.get(frame.sources[0])
    if source is None:
        raise SegMismatch(f"{frame} is derived from {frame.sources[0]}, which is not a source")
    if source.shape != frame.plane.shape:
        raise SegMismatch(f"{frame} is {frame.plane.shape} pixels, its source {source.shape}")
    if (distance_mm := frame.plane.distance_mm(source)) > TOLERANCE_MM:
        raise SegMismatch(f"{frame} lies {distance_mm:.3f} mm from its source {frame.sources[0]}")


def _check_mask(frame: Frame, seg: Dataset, shown: LabelMap) -> int:
    """Return the slice of the label map that the frame shows."""
    index = slice_at(shown, frame.plane)
    wrong = np.count_nonzero(_mask(frame, seg) != (shown.labels[index] == frame.label))
    if wrong:
        raise SegMismatch(f"{frame} differs from slice {index} of its label map in {wrong} pixels")
    return index


def _mask(frame: Frame, seg: Dataset) -> NDArray[np.bool_]:
    """Unpack one frame: bits follow one another, the first in the lowest place (PS3.5 8.1.1)."""
    pixels = seg.Rows * seg.Columns
    first, skip = divmod((frame.number - 1) * pixels, 8)
    packed = np.frombuffer(seg.PixelData, np.uint8)[first : first + (skip + pixels + 7) // 8]
    bits = np.unpackbits(packed, bitorder="little")[skip : skip + pixels]
    if bits.size != pixels:
        raise SegMismatch(f"{frame} has {bits.size} of {pixels} pixels")
    return bits.reshape(seg.Rows, seg.Columns).view(np.bool_)


def _check_complete(seen: list[tuple[Label, int]], shown: LabelMap) -> None:
    labelled = {
        (label, int(index))
        for label in (Label.LIVER, Label.TUMOUR)
        for index in np.flatnonzero((shown.labels == label).any(axis=(1, 2)))
    }
    if missing := labelled.difference(seen):
        label, index = min(missing)
        raise SegMismatch(f"no frame shows {label.name.lower()} in slice {index}")
    if len(seen) != len(labelled):
        (label, index), times = Counter(seen).most_common(1)[0]
        raise SegMismatch(f"{times} frames show {label.name.lower()} in slice {index}")
