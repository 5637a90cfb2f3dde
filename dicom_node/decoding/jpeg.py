"""Markers of JPEG (ISO 10918-1) and JPEG-LS (ISO 14495-1) code streams."""

import re

from dicom_node.decoding.stream import BrokenStream, StreamHeader, number

START, END, SCAN = 0xD8, 0xD9, 0xDA
ALONE = {0x01, *range(0xD0, 0xD8)}
"""Markers without a segment: TEM and the restart markers."""
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Start of frame, but for DHT, JPG and DAC (ISO 10918-1, table B.1)."""
LOSSLESS_FRAME, LS_FRAME = 0xC3, 0xF7

AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""End of entropy-coded data: FF is followed by 00 within it, or by a restart marker."""
AFTER_LS_SCAN = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
"""In JPEG-LS, FF is followed by a bit 0 within the data (ISO 14495-1, A.1)."""


def jpeg_header(stream: bytes) -> StreamHeader:
    """Return the header of a JPEG stream that reaches its end marker.

    Raises:
        BrokenStream: it is cut, or is no JPEG stream.
    """
    return _walk(stream, FRAMES, AFTER_SCAN)


def jpeg_ls_header(stream: bytes) -> StreamHeader:
    """Return the header of a JPEG-LS stream that reaches its end marker.

    Raises:
        BrokenStream: it is cut, or is no JPEG-LS stream.
    """
    return _walk(stream, {LS_FRAME}, AFTER_LS_SCAN)


def _walk(stream: bytes, frames: set[int], after_scan: re.Pattern[bytes]) -> StreamHeader:
    """Go from marker to marker up to the end of the image."""
    if number(stream, 0, 2) != 0xFF00 | START:
        raise BrokenStream("the code stream does not begin as JPEG does")
    at, header, scanned = 2, None, 0
    while True:
        marker, at = _marker(stream, at)
        if marker == END:
            break
        if marker in ALONE:
            continue
        length = number(stream, at, 2)
        if length < 2 or at + length > len(stream):
            raise BrokenStream(f"the code stream breaks off within marker FF{marker:02X}")
        if marker in frames:
            if header is not None:
                raise BrokenStream("the code stream has two frame headers")
            header = _frame(stream, at), marker
        at += length
        if marker == SCAN:
            after = after_scan.search(stream, at)
            if after is None:
                raise BrokenStream("the code stream breaks off: it has no end marker")
            scanned += after.start() - at
            at = after.start()
    # A stream may be whole by its markers and hold no data between them.
    if header is None or not scanned:
        raise BrokenStream("the code stream has no picture")
    frame, kind = header
    # Huffman codes have at least one bit, so fewer cannot hold the picture.
    if kind == LOSSLESS_FRAME and scanned * 8 < frame.rows * frame.columns * frame.samples:
        raise BrokenStream(
            f"{scanned} bytes of lossless JPEG cannot hold {frame.rows} x {frame.columns} pixels"
        )
    return frame


def _marker(stream: bytes, at: int) -> tuple[int, int]:
    """Return the marker at a place, and the place after it; fill bytes FF may come before."""
    if number(stream, at, 1) != 0xFF:
        raise BrokenStream(f"the code stream has no marker at byte {at}, where one must be")
    while number(stream, at, 1) == 0xFF:
        at += 1
    return stream[at], at + 1


def _frame(stream: bytes, at: int) -> StreamHeader:
    # Length, precision, lines, samples per line, components (ITU-T T.81 B.2.2).
    return StreamHeader(
        rows=number(stream, at + 3, 2),
        columns=number(stream, at + 5, 2),
        samples=number(stream, at + 7, 1),
        bits=number(stream, at + 2, 1),
    )
