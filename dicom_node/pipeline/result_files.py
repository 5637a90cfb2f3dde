"""Files of results; the same work done again leaves the object that it made before."""

from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from dicom_node.attributes import UNREADABLE
from dicom_node.results.attributes.result_uids import content_digest
from engine.durable_files import write_durably


def keep_or_write(path: Path, made: bytes) -> bool:
    """Write an object unless the file holds it already; return whether it was written.

    The same work has the same UIDs but another time of making. Written again it would be a second
    content under a UID that an archive may have by now: after a crash, or when a person lets the
    job be done again.
    """
    if path.exists() and _is_same_object(path.read_bytes(), made):
        return False
    write_durably(path, made)
    return True


def _is_same_object(there: bytes, made: bytes) -> bool:
    try:
        old, new = dcmread(BytesIO(there)), dcmread(BytesIO(made))
        return bool(old.SOPInstanceUID == new.SOPInstanceUID) and (
            content_digest(old) == content_digest(new)
        )
    except (InvalidDicomError, *UNREADABLE):
        return False
