"""An instance that comes as a DICOM file (PS3.10), as by STOW-RS, in place of a C-STORE request."""

from io import BytesIO

from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID
from pynetdicom import ALL_TRANSFER_SYNTAXES

from dicom_node.attributes import UNREADABLE
from dicom_node.dicom_file import FILE_META_GROUP
from dicom_node.errors import RejectedInstance, StoreStatus
from dicom_node.net.data_set_file import DataSetBytes, after
from dicom_node.receive.c_store_handler import Instance
from dicom_node.receive.header import LONGEST_HEADER
from dicom_node.receive.scp import RECEIVED

PREAMBLE, PREFIX = 128, b"DICM"
"""Bytes before the prefix of a file, and the prefix (PS3.10 7.1)."""


def to_instance(content: DataSetBytes, sender: str) -> Instance:
    """Return the instance in a file, with its data set as it came.

    Raises:
        RejectedInstance: it is no DICOM file, or of a kind that C-STORE would not negotiate.
    """
    if content[PREAMBLE : PREAMBLE + len(PREFIX)] != PREFIX:
        raise RejectedInstance("the part is no DICOM file", StoreStatus.CANNOT_UNDERSTAND)
    file = BytesIO(content[:LONGEST_HEADER])
    file.seek(PREAMBLE + len(PREFIX))
    try:
        # Always Explicit VR Little Endian, whatever the data set is (PS3.10 7.1).
        meta = read_dataset(file, False, True, stop_when=_after_meta)
        sop_class = str(meta.get("MediaStorageSOPClassUID", ""))
        uid = str(meta.get("MediaStorageSOPInstanceUID", ""))
        syntax = UID(str(meta.get("TransferSyntaxUID", "")))
    except UNREADABLE as error:
        raise RejectedInstance(
            f"its file meta information cannot be read ({type(error).__name__})",
            StoreStatus.CANNOT_UNDERSTAND,
        ) from error
    if sop_class not in RECEIVED:
        raise RejectedInstance(
            "its SOP class is neither CT nor a segmentation", StoreStatus.SOP_CLASS_NOT_SUPPORTED
        )
    if syntax not in ALL_TRANSFER_SYNTAXES:
        raise RejectedInstance("its transfer syntax is unknown", StoreStatus.CANNOT_UNDERSTAND)
    # The reader has stopped in front of the first element of another group. Nothing was
    # negotiated, so the class in the file stands for the agreed one, too.
    return Instance(after(content, file.tell()), sop_class, uid, sop_class, syntax, sender)


def _after_meta(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag.group != FILE_META_GROUP
