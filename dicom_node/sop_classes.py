"""UIDs of the SOP Classes that pydicom does not name (PS3.6, annex A)."""

from pydicom.uid import UID

VERIFICATION = UID("1.2.840.10008.1.1")
"""C-ECHO (PS3.4 A.4)."""

STORAGE_COMMITMENT = UID("1.2.840.10008.1.20.1")
"""Storage Commitment Push Model (PS3.4 J.3)."""

STORAGE_COMMITMENT_INSTANCE = UID("1.2.840.10008.1.20.1.1")
"""The one well-known instance of it, to which every request is sent (PS3.4 J.3.5)."""

STUDY_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
STUDY_ROOT_MOVE = UID("1.2.840.10008.5.1.4.1.2.2.2")
STUDY_ROOT_GET = UID("1.2.840.10008.5.1.4.1.2.2.3")
"""Query/Retrieve in the Study Root information model (PS3.4 C.6.2)."""

LABEL_MAP_SEGMENTATION = UID("1.2.840.10008.5.1.4.1.1.66.7")
"""Label Map Segmentation Storage (PS3.3 A.51)."""


def sop_class_name(uid: str) -> str:
    """Return the name of a SOP class; pydicom 3.0 does not have the youngest one."""
    return "Label Map Segmentation Storage" if uid == LABEL_MAP_SEGMENTATION else UID(uid).name
