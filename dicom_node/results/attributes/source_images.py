"""Headers of the source images as highdicom requires them, and the references to those images.

highdicom refuses a whole series for a missing Study ID, an unknown sex or a last digit in an
orientation. So it gets these headers, which are always complete, and patient and study are
copied from the source afterwards, as they are.
"""

from collections.abc import Sequence
from typing import Any

import highdicom as hd
from pydicom import Dataset
from pydicom.uid import CTImageStorage
from pydicom.valuerep import DSfloat

from dicom_node.attributes import UNREADABLE, value_of
from dicom_node.results.attributes.derived_uid import derived_uid
from dicom_node.results.attributes.values import all_fitting, fitting
from dicom_node.series.frames import Frame, is_multi_frame

ABSENT = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""Attributes that highdicom (0.28.2, `SOPClass.__init__`) reads from a source image without asking
whether it has them; it gets them empty."""

IDENTITY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")

COPIED = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "Rows",
    "Columns",
)


def references(frames: Sequence[Frame], first: int, volume: hd.Volume) -> list[Dataset]:
    """Return headers of the slices that `volume` covers, put exactly on its planes.

    highdicom ties frames to their sources only where all of them agree within a micrometre.
    Sources round their positions, a gantry tilts and distances change; which slice is which is
    known from the order.

    Args:
        frames: of the stack, as `series.slice_positions.in_order` sorts them.
        first: index of the frame on the first plane of `volume`.
        volume: labels whose slices run as `frames` do.
    """
    common = _common(frames[0].instance, volume)
    common.update(_measures(frames[0].header, volume))
    common.update(_orientation(volume))
    return [
        _single_frame(frame, common, plane, volume)
        for plane, frame in enumerate(frames[first : first + volume.shape[0]])
    ]


def _common(source: Dataset, volume: hd.Volume) -> Dataset:
    common = Dataset()
    for keyword in ABSENT:
        setattr(common, keyword, "")
    for keyword in COPIED:
        setattr(common, keyword, source[keyword].value)
    # Also for frames of a multi-frame source, which highdicom could not take one by one; the true
    # class comes with `take_positions`.
    common.SOPClassUID = CTImageStorage
    common.FrameOfReferenceUID = volume.frame_of_reference_uid
    common.PositionReferenceIndicator = source.get("PositionReferenceIndicator")
    return common


def _single_frame(frame: Frame, common: Dataset, plane: int, volume: hd.Volume) -> Dataset:
    header = Dataset()
    header.update(common)
    header.SOPInstanceUID = _stand_in(frame)
    header.update(_position(plane, volume))
    return header


def _stand_in(frame: Frame) -> str:
    """Return the UID that stands for a slice in highdicom.

    It takes one multi-frame source at most, so each frame of those passes as an instance of its
    own; `take_positions` then names the instance and the frame number.
    """
    uid = frame.text("SOPInstanceUID")
    return derived_uid(uid, str(frame.number)) if is_multi_frame(frame.instance) else uid


def _measures(slice_: Dataset, volume: hd.Volume) -> Dataset:
    measures = Dataset()
    measures.PixelSpacing = all_fitting(slice_.PixelSpacing)
    # Never absent: highdicom (0.28.2, `image.py`) reads it without asking.
    measures.SliceThickness = _thickness(slice_) or _decimal(volume.spacing[0])
    measures.SpacingBetweenSlices = _decimal(volume.spacing[0])
    return measures


def _thickness(slice_: Dataset) -> Any:
    """Return Slice Thickness as the source has it; None where it is absent, zero or no number."""
    thickness = fitting(value_of(slice_, "SliceThickness"))
    try:
        return thickness if float(thickness or 0) else None
    except UNREADABLE:
        return None


def _orientation(volume: hd.Volume) -> Dataset:
    # The attribute has the direction of a row first (PS3.3 C.7.6.2.1.1), the volume the step from
    # row to row.
    _, down_the_rows, along_the_columns = volume.unit_vectors()
    orientation = Dataset()
    orientation.ImageOrientationPatient = [
        _decimal(cosine) for cosine in (*along_the_columns, *down_the_rows)
    ]
    return orientation


def _position(plane: int, volume: hd.Volume) -> Dataset:
    first_pixel = (volume.affine @ [plane, 0, 0, 1])[:3]
    position = Dataset()
    # To a nanometre: far within the micrometre of highdicom, and no more characters than a DS
    # holds.
    position.ImagePositionPatient = [round(float(coordinate), 6) for coordinate in first_pixel]
    return position


def _decimal(number: float) -> DSfloat:
    return DSfloat(float(number), auto_format=True)


def evidence(instances: Sequence[Dataset]) -> list[Dataset]:
    """Return headers that identify instances, with the empty attributes that highdicom requires."""
    headers = []
    for instance in instances:
        header = Dataset()
        for keyword in ABSENT:
            setattr(header, keyword, "")
        for keyword in IDENTITY:
            setattr(header, keyword, instance[keyword].value)
        headers.append(header)
    return headers


def refer_to_all(seg: Dataset, sources: list[Dataset]) -> None:
    """Name the whole series as the source, also the slices that show no liver."""
    # Besides the series below (Common Instance Reference, PS3.3 C.12.2), by which OHIF finds it.
    seg.SourceImageSequence = [_reference_to(source) for source in sources]
    series = Dataset()
    series.SeriesInstanceUID = sources[0].SeriesInstanceUID
    series.ReferencedInstanceSequence = [_reference_to(source) for source in sources]
    seg.ReferencedSeriesSequence = [series]


def _reference_to(source: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    return reference


def take_positions(seg: Dataset, frames: Sequence[Frame], *, even: bool = True) -> None:
    """Give each frame position and orientation of its source, digit by digit where they are valid.

    highdicom writes them from its own affine, rounded (0.28.2, `PlanePositionSequence`); a reader
    that compares the texts would find no slice. A source's number of more than 16 characters
    is no valid DS (PS3.5 6.2) and is rounded to as many.

    Args:
        seg: made from `references` of the frames.
        frames: of the stack.
        even: without, no distance between slices is stated: there is no one distance.
    """
    sources = {_stand_in(frame): frame for frame in frames}
    named = {(frame.instance.SOPInstanceUID, frame.number): frame for frame in frames}
    shared = seg.SharedFunctionalGroupsSequence[0]
    # Unpacked, not indexed: a second item would mean that highdicom shares something else now.
    (orientation,) = shared.PlaneOrientationSequence
    orientation.ImageOrientationPatient = all_fitting(frames[0].header.ImageOrientationPatient)
    if not even:
        del shared.PixelMeasuresSequence[0].SpacingBetweenSlices
    for groups in seg.PerFrameFunctionalGroupsSequence:
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        uid = image.ReferencedSOPInstanceUID
        # highdicom lets the frames of all segments share one item, which may be named already
        source = sources.get(uid) or named[uid, image.ReferencedFrameNumber]
        image.ReferencedSOPClassUID = source.instance.SOPClassUID
        image.ReferencedSOPInstanceUID = source.instance.SOPInstanceUID
        if is_multi_frame(source.instance):
            image.ReferencedFrameNumber = source.number
        place = all_fitting(source.header.ImagePositionPatient)
        groups.PlanePositionSequence[0].ImagePositionPatient = place
