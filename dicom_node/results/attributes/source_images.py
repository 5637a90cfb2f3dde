"""Headers of the source images as highdicom requires them, and the references to those images.

highdicom refuses a whole series for a missing Study ID, an unknown sex or a last digit in an
orientation. So it gets these headers, which are always complete, and patient and study are
copied from the source afterwards, as they are.
"""

from collections.abc import Sequence
from typing import Any

import highdicom as hd
from pydicom import Dataset
from pydicom.valuerep import DSfloat

from dicom_node.results.attributes.values import all_fitting, fitting
from dicom_node.series.frames import Frame, frames_of, is_multi_frame

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
    "SOPClassUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "Rows",
    "Columns",
)


def references(sources: Sequence[Dataset], volume: hd.Volume) -> list[Dataset]:
    """Return headers of the sources that `volume` covers, put exactly on its planes.

    highdicom ties frames to their sources only where all of them agree within a micrometre.
    Where a source rounds its positions, the nearest plane is the one its labels were made for.
    """
    common = _common(sources[0], volume)
    if is_multi_frame(sources[0]):
        return [_multi_frame(sources[0], common, volume)]
    common.update(_measures(sources[0], volume))
    common.update(_orientation(volume))
    covered = [source for source in sources if _index(source, volume) in range(volume.shape[0])]
    return [_single_frame(source, common, volume) for source in covered]


def _common(source: Dataset, volume: hd.Volume) -> Dataset:
    common = Dataset()
    for keyword in ABSENT:
        setattr(common, keyword, "")
    for keyword in COPIED:
        setattr(common, keyword, source[keyword].value)
    common.FrameOfReferenceUID = volume.frame_of_reference_uid
    common.PositionReferenceIndicator = source.get("PositionReferenceIndicator")
    return common


def _single_frame(source: Dataset, common: Dataset, volume: hd.Volume) -> Dataset:
    header = Dataset()
    header.update(common)
    header.SOPInstanceUID = source.SOPInstanceUID
    header.update(_position(source, volume))
    return header


def _multi_frame(source: Dataset, common: Dataset, volume: hd.Volume) -> Dataset:
    header = Dataset()
    header.update(common)
    header.SOPInstanceUID = source.SOPInstanceUID
    frames = frames_of([source])
    shared = Dataset()
    shared.PixelMeasuresSequence = [_measures(frames[0].header, volume)]
    shared.PlaneOrientationSequence = [_orientation(volume)]
    header.SharedFunctionalGroupsSequence = [shared]
    header.PerFrameFunctionalGroupsSequence = [Dataset() for _ in frames]
    for groups, frame in zip(header.PerFrameFunctionalGroupsSequence, frames, strict=True):
        groups.PlanePositionSequence = [_position(frame.header, volume)]
    header.NumberOfFrames = len(frames)
    return header


def _measures(slice_: Dataset, volume: hd.Volume) -> Dataset:
    measures = Dataset()
    measures.PixelSpacing = all_fitting(slice_.PixelSpacing)
    measures.SliceThickness = _thickness(slice_) or _decimal(volume.spacing[0])
    measures.SpacingBetweenSlices = _decimal(volume.spacing[0])
    return measures


def _thickness(slice_: Dataset) -> Any:
    """Return Slice Thickness as the source has it; None where it is absent, zero or no number."""
    thickness = fitting(slice_.get("SliceThickness"))
    try:
        return thickness if float(thickness or 0) else None
    except (ValueError, TypeError):
        return None


def _orientation(volume: hd.Volume) -> Dataset:
    _, down_the_rows, along_the_columns = volume.unit_vectors()
    orientation = Dataset()
    orientation.ImageOrientationPatient = [
        _decimal(cosine) for cosine in (*along_the_columns, *down_the_rows)
    ]
    return orientation


def _position(slice_: Dataset, volume: hd.Volume) -> Dataset:
    first_pixel = (volume.affine @ [_index(slice_, volume), 0, 0, 1])[:3]
    position = Dataset()
    position.ImagePositionPatient = [round(float(coordinate), 6) for coordinate in first_pixel]
    return position


def _index(slice_: Dataset, volume: hd.Volume) -> int:
    """Return the number of the plane of `volume` that is nearest to a slice."""
    position = [float(coordinate) for coordinate in slice_.ImagePositionPatient]
    return round(float(volume.inverse_affine[0] @ [*position, 1]))


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


def take_positions(seg: Dataset, frames: list[Frame]) -> None:
    """Give each frame position and orientation of its source, digit by digit where they are valid.

    highdicom writes them from its own affine, rounded (0.28.2, `PlanePositionSequence`); a reader
    that compares the texts would find no slice. A source's number of more than 16 characters
    is no valid DS (PS3.5 6.2) and is rounded to as many.
    """
    sources = {
        (frame.instance.SOPInstanceUID, frame.number if is_multi_frame(frame.instance) else None): (
            frame.header
        )
        for frame in frames
    }
    (orientation,) = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    orientation.ImageOrientationPatient = all_fitting(frames[0].header.ImageOrientationPatient)
    for groups in seg.PerFrameFunctionalGroupsSequence:
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        source = sources[image.ReferencedSOPInstanceUID, image.get("ReferencedFrameNumber")]
        place = all_fitting(source.ImagePositionPatient)
        groups.PlanePositionSequence[0].ImagePositionPatient = place
