"""Walk over the elements of an ordinary file up to its pixels, without a parser.

Reads what pydicom would read there, in a tenth of the time, and gives up at anything unusual.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16

from dicom_node.dicom_file import LONG_VRS, PREAMBLE, UNDEFINED

SHORT_VRS = {vr.encode() for vr in EXPLICIT_VR_LENGTH_16}
"""VRs with a length of 16 bits (PS3.5 7.1.2)."""
SYNTAX, ROWS, PIXELS = 0x00020010, 0x00280010, 0x7FE00010
IMPLICIT = {ImplicitVRLittleEndian.encode(): True, ExplicitVRLittleEndian.encode(): False}
"""Transfer syntaxes that are walked: whether their VRs are implicit."""
Element = tuple[int, int, int, int]
"""Tag, first byte of the element, first byte of its value, length of its value."""
EXPLICIT_ELEMENT, LENGTH = struct.Struct("<HH2sH"), struct.Struct("<L")


@dataclass(frozen=True)
class Pixels:
    """Pixel Data as its element announces it."""

    at: int
    """First byte of the element."""
    length: int
    has_rows: bool
    """Whether Rows comes before it."""


def find_pixels(head: bytes) -> Pixels | None:
    """Return where the first bytes of a file announce its pixels.

    None where they do not, or only a parser can be sure: without a preamble, in a transfer syntax
    other than the two uncompressed ones of little endian, with sequences of undefined length, with
    unknown VRs, or elements out of order.
    """
    if head[PREAMBLE - 4 : PREAMBLE] != b"DICM":
        return None
    implicit, start = None, PREAMBLE
    for tag, _, value_at, length in _elements(head, start, 0x0001FFFF, implicit=False):
        # The first element of the data set: the file meta information has ended.
        if tag > 0x0002FFFF:
            break
        start = value_at + length
        if tag == SYNTAX:
            implicit = IMPLICIT.get(head[value_at:start].rstrip(b"\0"))
    if implicit is None:
        return None
    has_rows = False
    for tag, at, _, length in _elements(head, start, 0x0002FFFF, implicit=implicit):
        if tag == PIXELS:
            return Pixels(at, length, has_rows)
        has_rows = has_rows or tag == ROWS
    return None


def _elements(head: bytes, at: int, after: int, *, implicit: bool) -> Iterator[Element]:
    """Yield elements after a tag while they ascend and have nothing unusual."""
    # 12 bytes: the longest head of an element, with a VR of 32-bit length.
    while at + 12 <= len(head):
        group, number, vr, length = EXPLICIT_ELEMENT.unpack_from(head, at)
        tag, value_at = group << 16 | number, at + 8
        if implicit:
            # pydicom takes a length that reads like a VR for one.
            if vr.isalpha() and vr.isupper():
                return
            (length,) = LENGTH.unpack_from(head, at + 4)
        elif vr in LONG_VRS:
            (length,) = LENGTH.unpack_from(head, at + 8)
            value_at = at + 12
        elif vr not in SHORT_VRS:
            return
        if tag <= after:
            return
        yield tag, at, value_at, length
        if length == UNDEFINED:
            return
        at, after = value_at + length, tag
