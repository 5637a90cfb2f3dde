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
        sop_class, sender = _class_and_sender(path)
        if sop_class:
            classes[sop_class] += 1
        senders.add(sender)
    return Study(study_uid, classes, tuple(sorted(senders - {""})))


def _class_and_sender(path: Path) -> tuple[str, str]:
    """Return SOP Class UID and sender of a file; empty where it does not state them."""
    try:
        meta = read_file_meta_info(path)
        # Within: a value is converted, and may turn out to be damaged, only when it is asked for.
        keywords = "MediaStorageSOPClassUID", "SendingApplicationEntityTitle"
        sop_class, sender = (str(meta.get(keyword) or "").strip() for keyword in keywords)
    # Gone, damaged on the disk, or no instance: a page lies beside a PDF.
    except (OSError, InvalidDicomError, *UNREADABLE):
        return "", ""
    return sop_class, sender


def series_query(study_uid: str, series_uid: str) -> QueriedSopClass:
    """Return the query for a series; it stands for one by QIDO-RS, too, which has no SOP Class."""
    keys = Dataset()
    keys.QueryRetrieveLevel = "SERIES"
    keys.StudyInstanceUID, keys.SeriesInstanceUID = study_uid, series_uid
    encoded = DicomBytesIO()
    encoded.is_little_endian, encoded.is_implicit_VR = True, True
    write_dataset(encoded, keys)
    return QueriedSopClass(STUDY_ROOT_FIND, encoded.getvalue(), ImplicitVRLittleEndian)
