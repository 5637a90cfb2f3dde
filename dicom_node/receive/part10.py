"""Preamble and file meta information of a DICOM file (PS3.10 7.1).

pydicom writes the same in 0.4 ms, a tenth of what one slice may take.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

from dicom_node.net.data_set_file import DataSetBytes, pieces

# OB has two reserved bytes and a length of 32 bits (PS3.5 7.1.2).
VERSION = struct.pack("<HH2s2xL2s", 0x0002, 0x0001, b"OB", 2, b"\x00\x01")

META_AT = 128 + 4 + 12
"""Bytes before those that (0002,0000) counts: preamble, "DICM", and that element itself."""


@dataclass(frozen=True)
class Part10:
    """A file that is yet to be written."""

    head: bytes
    """Preamble and file meta information."""
    data_set: DataSetBytes
    sender: str = ""
    """AE title of who sent it; empty if it is not known."""

    def __len__(self) -> int:
        return len(self.head) + len(self.data_set)

    def pieces(self) -> Iterator[bytes]:
        """Return its content from the start, piece by piece."""
        yield self.head
        yield from pieces(self.data_set)


def to_part10(
    data_set: DataSetBytes, sop_class: str, instance: str, transfer_syntax: str, sender: str = ""
) -> Part10:
    """Return a Part 10 file with the encoded data set unchanged, byte for byte.

    The sender goes into Sending Application Entity Title (0002,0017), if it is known.
    """
    meta = b"".join(
        (
            VERSION,
            _element(0x0002, b"UI", sop_class),
            _element(0x0003, b"UI", instance),
            _element(0x0010, b"UI", transfer_syntax),
            _element(0x0012, b"UI", PYNETDICOM_IMPLEMENTATION_UID),
            _element(0x0013, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION),
            _element(0x0017, b"AE", sender) if sender else b"",
        )
    )
    # (0002,0000) counts the bytes after itself, up to the data set.
    length = struct.pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, len(meta))
    return Part10(b"".join((bytes(128), b"DICM", length, meta)), data_set, sender)


def _element(element: int, vr: bytes, value: str) -> bytes:
    """Encode a short element of group 0002 in Explicit VR Little Endian (PS3.5 7.1.2)."""
    content = value.encode("ascii")
    if len(content) % 2:
        # UIDs are padded with a null, text with a space (PS3.5 6.2).
        content += b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 0x0002, element, vr, len(content)) + content
