"""Bounds of a file, to be checked before it is read: deflated data sets, and oversized headers.

pydicom inflates a data set (PS3.5 A.5) in one call, whatever comes of it, and parses sequences of
any length.
"""

import zlib
from io import BytesIO
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info, read_partial
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_node.decoding.bounds import INFLATED_BYTES
from dicom_node.decoding.element_walk import PIXELS, ROWS, Pixels, find_pixels
from dicom_node.decoding.process_pool import pool
from dicom_node.decoding.requests import InspectHeader
from dicom_node.decoding.stream import BrokenStream
from dicom_node.dicom_file import UNDEFINED, UNREADABLE_FILE

PIECE_BYTES = 1 << 20
META_BYTES = 1 << 13
"""Hold the file meta information, and most headers whole."""
HEADER_BYTES = 1 << 18
"""Within them, any header is parsed in about a second; a longer one is parsed first where it can do
no harm. CT has a few kilobytes of header; some scanners add megabytes of private data."""
PIXEL_DATA = b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"
"""Tag (7FE0,0010) in little and big endian."""


def require_bounded_file(path: Path, most: int = INFLATED_BYTES) -> None:
    """Return if a file may be read.

    Raises:
        BrokenStream: a deflated data set is cut, damaged, or inflates to more than `most` bytes; or
            a long header cannot be parsed in time, or holds too many items.
        OSError: it cannot be opened.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(META_BYTES)
        if not any(tag in head for tag in PIXEL_DATA):
            head += file.read(HEADER_BYTES)
    # A quick look; the UID may stand elsewhere, and is read properly below.
    if DeflatedExplicitVRLittleEndian.encode() in head:
        _require_bounded_inflation(path, most)
    elif _is_short(head, size):
        return
    # Elsewhere: a parser that does not end there costs one process, not the node.
    pool.run(InspectHeader(path))


def _is_short(head: bytes, size: int) -> bool:
    """Return whether the first bytes of a file hold its header, and little follows the pixels.

    They are walked or parsed, because the tag of Pixel Data may also stand within a value.
    Compressed pixels, whose end is not stated, count as long.
    """
    if not any(tag in head for tag in PIXEL_DATA):
        return False
    pixels = find_pixels(head) or _parsed_pixels(head)
    if pixels is None or pixels.length == UNDEFINED:
        return False
    # An image without Rows would be read a second time, in another way.
    return pixels.has_rows and pixels.at + pixels.length > size - HEADER_BYTES


def _parsed_pixels(head: bytes) -> Pixels | None:
    """Return what `find_pixels` does, of an unusual file, in ten times the time."""
    lengths: list[int] = []

    def at_the_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
        if tag == PIXELS:
            lengths.append(length)
        return bool(lengths)

    stream = BytesIO(head)
    try:
        # Up to the pixels: in a part of a file pydicom would miss the end of compressed ones, and
        # warn of it.
        found = read_partial(stream, at_the_pixels, force=True, specific_tags=[BaseTag(ROWS)])
    except UNREADABLE_FILE:
        return None
    return Pixels(stream.tell(), lengths[0], ROWS in found) if lengths else None


def _require_bounded_inflation(path: Path, most: int) -> None:
    try:
        meta = read_file_meta_info(path)
    except (InvalidDicomError, AttributeError, KeyError):  # the reader says what it is
        return
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    with path.open("rb") as file:
        # Preamble and prefix, then the element of the group length, which does not count itself.
        file.seek(132 + 12 + int(meta.FileMetaInformationGroupLength))
        _inflate(file.read(), most)


def _inflate(deflated: bytes, most: int) -> None:
    inflater, inflated = zlib.decompressobj(-zlib.MAX_WBITS), 0
    try:
        while not inflater.eof:
            inflated += len(inflater.decompress(deflated, PIECE_BYTES))
            # What was held back at the limit of a piece.
            deflated = inflater.unconsumed_tail
            if inflated > most:
                raise BrokenStream(
                    f"the deflated data set inflates to more than {most >> 20} MB; send it"
                    " uncompressed"
                )
            if not deflated and not inflater.eof:
                raise BrokenStream("the deflated data set breaks off")
    except zlib.error as error:
        raise BrokenStream(f"the deflated data set cannot be inflated: {error}") from error
