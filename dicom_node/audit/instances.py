"""Files of instances, as an audit trail names them."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_file_meta_info
from pydicom.filewriter import write_dataset
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.attributes import UNREADABLE
from dicom_node.audit.audit_event import QueriedSopClass, Study

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
"""Study Root Query/Retrieve Information Model - FIND."""


def study_of(study_uid: str, paths: Iterable[Path]) -> Study:
    """Return the files of one study that are there, by what their file meta information says.

    Those whose file meta information cannot be read are not among them.
    """
    classes: Counter[str] = Counter()
    senders: set[str] = set()
    for path in paths:
        meta = _file_meta(path)
        if sop_class := str(meta.get("MediaStorageSOPClassUID", "")):
            classes[sop_class] += 1
        senders.add(str(meta.get("SendingApplicationEntityTitle", "")).strip())
    return Study(study_uid, classes, tuple(sorted(senders - {""})))


def _file_meta(path: Path) -> Dataset:
    try:
        return read_file_meta_info(path)
    # Gone, damaged on the disk, or no instance: a page lies beside a PDF.
    except (OSError, InvalidDicomError, *UNREADABLE):
        return Dataset()


def series_query(study_uid: str, series_uid: str) -> QueriedSopClass:
    """Return the query for a series; it stands for one by QIDO-RS, too, which has no SOP Class."""
    keys = Dataset()
    keys.QueryRetrieveLevel = "SERIES"
    keys.StudyInstanceUID, keys.SeriesInstanceUID = study_uid, series_uid
    encoded = DicomBytesIO()
    encoded.is_little_endian, encoded.is_implicit_VR = True, True
    write_dataset(encoded, keys)
    return QueriedSopClass(STUDY_ROOT_FIND, encoded.getvalue(), ImplicitVRLittleEndian)
