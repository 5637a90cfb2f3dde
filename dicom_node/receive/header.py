"""Identifiers of an instance, read from the first bytes of its data set.

The handler of a C-STORE must know the series before it can put the file into its folder. It reads
as far as (0020,000E) and no further: no pixel is touched, and what is kept are the bytes as sent.
"""

import re
import zlib
from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from dicom_node.errors import UNREADABLE, RejectedInstance, StoreStatus

SOP_CLASS, SOP_INSTANCE = BaseTag(0x00080016), BaseTag(0x00080018)
STUDY, SERIES = BaseTag(0x0020000D), BaseTag(0x0020000E)

DEFLATED = {
    UID("1.2.840.10008.1.2.1.99"),  # Deflated Explicit VR Little Endian
    UID("1.2.840.10008.1.2.4.95"),  # JPIP Referenced Deflate
    UID("1.2.840.10008.1.2.4.205"),  # JPIP HTJ2K Referenced Deflate
}
"""Transfer syntaxes that deflate the whole data set, header and all (PS3.5 A.5, A.7, A.12)."""
LONGEST = 1 << 20
"""Bytes in which the four UIDs must come; a few deflated kilobytes can inflate to gigabytes."""

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")


@dataclass(frozen=True, order=True)
class SeriesKey:
    """Which series an instance belongs to."""

    study_uid: str
    series_uid: str


@dataclass(frozen=True)
class InstanceIdentifiers:
    """The UIDs under which an instance is known."""

    sop_class_uid: str
    instance_uid: str
    series: SeriesKey


def is_uid(text: str) -> bool:
    """Tell whether `text` is a UID (PS3.5 9.1), and so also a harmless file name."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def read_header(data_set: bytes, transfer_syntax: UID) -> InstanceIdentifiers:
    """Return the UIDs in an encoded data set that comes without file meta information.

    Raises:
        RejectedInstance: the bytes are no data set, or one of the four UIDs is missing or wrong.
    """
    try:
        if transfer_syntax in DEFLATED:
            data_set = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data_set, LONGEST)
        found = read_dataset(
            BytesIO(data_set[:LONGEST]),
            transfer_syntax.is_implicit_VR,
            transfer_syntax.is_little_endian,
            stop_when=_after_series,
            specific_tags=[SOP_CLASS, SOP_INSTANCE, STUDY, SERIES],
        )
    except UNREADABLE as error:
        raise RejectedInstance(
            f"the data set cannot be read: {error}", StoreStatus.CANNOT_UNDERSTAND
        ) from error
    return InstanceIdentifiers(
        sop_class_uid=_uid(found, SOP_CLASS),
        instance_uid=_uid(found, SOP_INSTANCE),
        series=SeriesKey(_uid(found, STUDY), _uid(found, SERIES)),
    )


def _after_series(tag: BaseTag, vr: str | None, length: int) -> bool:
    return bool(tag > SERIES)


def _uid(found: Dataset, tag: BaseTag) -> str:
    # The raw bytes: asking pydicom for the value would warn about each one that is no UID.
    raw = found.get_item(tag).value if tag in found else None
    text = raw.decode("ascii", "replace").rstrip("\0 ") if isinstance(raw, bytes) else ""
    if not is_uid(text):
        raise RejectedInstance(f"{tag} is {text!r}, not a UID", StoreStatus.CANNOT_UNDERSTAND)
    return text
