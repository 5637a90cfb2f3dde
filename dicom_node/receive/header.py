"""Identifiers of an instance, read from the first bytes of its data set.

The handler of a C-STORE needs the series to put the file into its folder. It reads
until it has the four UIDs and no further: as a rule no pixel is touched, and the bytes are kept as
sent.
"""

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from dicom_node.attributes import UNREADABLE
from dicom_node.dicom_file import FILE_META_GROUP, with_known_vrs
from dicom_node.errors import RejectedInstance, StoreStatus
from dicom_node.net.data_set_file import DataSetBytes, after

SOP_CLASS, SOP_INSTANCE = BaseTag(0x00080016), BaseTag(0x00080018)
STUDY, SERIES = BaseTag(0x0020000D), BaseTag(0x0020000E)
UIDS = [SOP_CLASS, SOP_INSTANCE, STUDY, SERIES]

Stop = Callable[[BaseTag, str | None, int], bool]
"""Called with tag, VR and length before an element is read; True ends the reading."""

DEFLATED = {
    UID("1.2.840.10008.1.2.1.99"),  # Deflated Explicit VR Little Endian
    UID("1.2.840.10008.1.2.4.95"),  # JPIP Referenced Deflate
    UID("1.2.840.10008.1.2.4.205"),  # JPIP HTJ2K Referenced Deflate
}
"""Transfer syntaxes that deflate the whole data set, header and all (PS3.5 A.5, A.7, A.12)."""
LONGEST = 1 << 20
"""Bytes that are inflated or parsed at first; the four UIDs lie in the first kilobyte as a rule."""
LONGEST_HEADER = 1 << 26
"""Bytes in which they must come: scanners put megabytes of private data before group 0020, and some
senders elements out of order. A few deflated kilobytes can inflate to gigabytes."""
MOST_READS = 100_000
"""Pieces in which they must come, three for each item of a sequence: pydicom takes 30 µs and a
kilobyte for an empty one, so that 64 MB of them would take minutes and all memory."""

UID_BYTES = 64
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
"""Components with leading zeros are no UIDs (PS3.5 9.1), yet archives hold them and take them."""


@dataclass(frozen=True, order=True)
class SeriesKey:
    """Study and series of an instance."""

    study_uid: str
    series_uid: str


@dataclass(frozen=True)
class InstanceIdentifiers:
    """The UIDs under which an instance is known."""

    sop_class_uid: str
    instance_uid: str
    series: SeriesKey


def is_uid(text: str) -> bool:
    """Return whether `text` can stand for a UID, and so also for a harmless file name."""
    return len(text) <= UID_BYTES and _UID.fullmatch(text) is not None


def read_header(data_set: DataSetBytes, transfer_syntax: UID) -> InstanceIdentifiers:
    """Return the UIDs in an encoded data set that comes without file meta information.

    The elements may stand in any order, behind private data of any size and of unknown VR.

    Raises:
        RejectedInstance: the bytes are no data set, or one of the four UIDs is missing or wrong.
    """
    found = _parse(data_set, transfer_syntax, LONGEST)
    if any(tag not in found for tag in UIDS):
        found = _parse(data_set, transfer_syntax, LONGEST_HEADER)
    # Last, as it rewrites the bytes: only senders of VRs that the standard does not have need it.
    if any(tag not in found for tag in UIDS) and _is_plain_explicit(transfer_syntax):
        known = with_known_vrs(data_set[:LONGEST_HEADER])
        found = _parse(known, transfer_syntax, LONGEST_HEADER)
    return InstanceIdentifiers(
        sop_class_uid=_uid(found, SOP_CLASS),
        instance_uid=_uid(found, SOP_INSTANCE),
        series=SeriesKey(_uid(found, STUDY), _uid(found, SERIES)),
    )


def without_file_meta(data_set: DataSetBytes, transfer_syntax: UID) -> DataSetBytes:
    """Return the data set without elements of group 0002 at its start.

    Some senders leave them there (PS3.7 6.3.1 forbids it). In a file they would be read as file
    meta information, and their transfer syntax taken for that of the data set.

    Raises:
        RejectedInstance: they cannot be read.
    """
    if transfer_syntax in DEFLATED:
        return data_set
    # The first two bytes, turned round in big endian, so that one comparison does for both.
    group = data_set[:2] if transfer_syntax.is_little_endian else data_set[1::-1]
    if group != FILE_META_GROUP.to_bytes(2, "little"):
        return data_set
    stream = BytesIO(data_set[:LONGEST_HEADER])
    _read(stream, transfer_syntax, lambda tag, vr, length: tag.group != FILE_META_GROUP, [])
    return after(data_set, stream.tell())


def _is_plain_explicit(transfer_syntax: UID) -> bool:
    little = transfer_syntax.is_little_endian and not transfer_syntax.is_implicit_VR
    return little and transfer_syntax not in DEFLATED


class LimitedReads(BytesIO):
    """Bytes that are read in `MOST_READS` pieces at most."""

    reads = 0

    @property
    def spent(self) -> bool:
        """Whether more was asked for."""
        return self.reads > MOST_READS

    def read(self, size: int | None = -1) -> bytes:
        """Return the next piece.

        Raises:
            ValueError: there have been too many; pydicom may turn it into another error.
        """
        self.reads += 1
        if self.spent:
            raise ValueError
        return super().read(size)


def _parse(data_set: DataSetBytes, transfer_syntax: UID, longest: int) -> Dataset:
    begin = data_set[:longest]
    try:
        if transfer_syntax in DEFLATED:
            # Negative: deflate without the header of zlib (PS3.5 A.5).
            begin = zlib.decompressobj(-zlib.MAX_WBITS).decompress(begin, longest)
    except zlib.error as error:
        raise _unreadable(error) from error
    stream = LimitedReads(begin)
    try:
        return _read(stream, transfer_syntax, _after_all(), UIDS)
    except RejectedInstance as error:
        if not stream.spent:
            raise
        raise RejectedInstance(
            "the data set has too many sequence items before its UIDs", error.status
        ) from error


def _read(stream: BytesIO, transfer_syntax: UID, stop_when: Stop, tags: list[BaseTag]) -> Dataset:
    try:
        return read_dataset(
            stream,
            transfer_syntax.is_implicit_VR,
            transfer_syntax.is_little_endian,
            stop_when=stop_when,
            specific_tags=list(tags),
        )
    except (OSError, *UNREADABLE) as error:  # OSError: a sequence breaks off
        raise _unreadable(error) from error


def _unreadable(error: BaseException) -> RejectedInstance:
    # Not the error's words: pydicom quotes values, and a UID may be a name.
    return RejectedInstance(
        f"the data set cannot be read ({type(error).__name__})", StoreStatus.CANNOT_UNDERSTAND
    )


def _after_all() -> Stop:
    """Return a condition that ends the reading once all four UIDs have been read."""
    missing = set(UIDS)

    def stop(tag: BaseTag, vr: str | None, length: int) -> bool:
        if not missing:
            return True
        missing.discard(tag)
        return False

    return stop


def _uid(found: Dataset, tag: BaseTag) -> str:
    # The raw bytes: asking pydicom for the value would warn about each one that is no UID.
    raw = found.get_item(tag).value if tag in found else None
    text = raw.decode("ascii", "replace").strip("\0 ") if isinstance(raw, bytes) else ""
    require_uid(str(tag), text, StoreStatus.CANNOT_UNDERSTAND)
    return text


def require_uid(name: str, text: str, status: StoreStatus) -> None:
    """Return if `text` is a UID.

    Raises:
        RejectedInstance: with `status`; it does not quote the text, which may name the patient.
    """
    if not text:
        raise RejectedInstance(f"{name} is missing or empty, not a UID", status)
    if not is_uid(text):
        raise RejectedInstance(f"{name} is not a UID ({len(text)} characters)", status)
