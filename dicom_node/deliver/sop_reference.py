"""SOP Class and UIDs of the object in a DICOM file."""

from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from dicom_node.errors import PeerRefused


@dataclass(frozen=True)
class SopReference:
    """The UIDs of one object."""

    sop_class_uid: str
    instance_uid: str
    study_uid: str
    series_uid: str


def read_selected(path: Path) -> list[SopReference]:
    """Return the objects that a Key Object Selection in a file names."""
    note = dcmread(path)
    return [
        SopReference(
            str(each.ReferencedSOPClassUID),
            str(each.ReferencedSOPInstanceUID),
            str(study.StudyInstanceUID),
            str(series.SeriesInstanceUID),
        )
        for study in note.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for each in series.ReferencedSOPSequence
    ]


def read_reference(path: Path) -> SopReference:
    """Return the UIDs of the object in a file.

    Raises:
        PeerRefused: the file is not a DICOM object, or has no such UID.
    """
    keywords = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=list(keywords))
        return SopReference(*(str(header[keyword].value) for keyword in keywords))
    except (InvalidDicomError, KeyError) as error:
        raise PeerRefused(f"{path} is not a DICOM object: {error}") from error
