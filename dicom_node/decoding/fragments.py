"""Items of encapsulated pixel data, and the table that says where each frame begins (PS3.5 A.4)."""

import struct
from collections.abc import Sequence
from itertools import pairwise

from dicom_node.decoding.stream import BrokenStream

ITEM, DELIMITER = 0xE000FFFE, 0xE0DDFFFE
"""Tags (FFFE,E000) and (FFFE,E0DD), read as one little-endian number."""

Table = tuple[Sequence[int], Sequence[int]]
"""Offsets and lengths of the Extended Offset Table (7FE0,0001) and (7FE0,0002)."""


def frame_stream(
    pixel_data: bytes, index: int, frames: int, extended: Table | None = None
) -> bytes:
    """Return the code stream of one frame.

    Args:
        pixel_data: value of Pixel Data (7FE0,0010), encapsulated.
        index: of the frame, from 0.
        frames: how many there are.
        extended: the extended offset table, if there is one.

    Raises:
        BrokenStream: an item breaks off, or a table contradicts the items.
    """
    table, start = _item(pixel_data, 0)
    if extended is not None:
        return _extended(pixel_data, start, index, frames, extended)
    if not table:
        return _without_table(pixel_data, start, index, frames)
    if len(table) != 4 * frames:
        raise BrokenStream(f"the offset table names {len(table) // 4} frames of {frames}")
    offsets = [*struct.unpack(f"<{frames}L", table), len(pixel_data) - start]
    # Offsets count from the first item after the table (PS3.5 A.4), so the first is 0.
    if offsets[0] != 0 or any(a >= b for a, b in pairwise(offsets)):
        raise BrokenStream("the offset table points beyond the fragments")
    begin, end = (start + offset for offset in offsets[index : index + 2])
    return b"".join(_items(pixel_data, begin, end))


def _without_table(pixel_data: bytes, start: int, index: int, frames: int) -> bytes:
    items = _items(pixel_data, start, len(pixel_data))
    if frames == 1:
        return b"".join(items)
    # Without a table only one fragment per frame is unambiguous.
    if len(items) != frames:
        raise BrokenStream(
            f"{len(items)} fragments hold {frames} frames, and no table says which is whose"
        )
    return items[index]


def _extended(pixel_data: bytes, start: int, index: int, frames: int, extended: Table) -> bytes:
    offsets, lengths = extended
    if not len(offsets) == len(lengths) == frames:
        raise BrokenStream(f"the extended offset table names {len(offsets)} frames of {frames}")
    content, _ = _item(pixel_data, start + offsets[index])
    # With or without the byte that pads a fragment to even length.
    if len(content) not in (lengths[index], lengths[index] + lengths[index] % 2):
        raise BrokenStream("the extended offset table contradicts the length of a fragment")
    return content


def _items(pixel_data: bytes, at: int, end: int) -> list[bytes]:
    """Return the items from one place to another."""
    items = []
    while at < end:
        if end - at >= 4 and int.from_bytes(pixel_data[at : at + 4], "little") == DELIMITER:
            break
        content, at = _item(pixel_data, at)
        items.append(content)
    if at > end:
        raise BrokenStream("a fragment reaches into the next frame")
    if not items:
        raise BrokenStream("the frame has no fragment")
    return items


def _item(pixel_data: bytes, at: int) -> tuple[bytes, int]:
    """Return the content of an item, and the place after it."""
    if at + 8 > len(pixel_data):
        raise BrokenStream(f"the pixel data break off after {len(pixel_data)} bytes")
    tag, length = struct.unpack_from("<LL", pixel_data, at)
    if tag != ITEM:
        raise BrokenStream(f"no item begins at byte {at} of the pixel data, where one must")
    begin = at + 8
    if begin + length > len(pixel_data):
        raise BrokenStream(
            f"a fragment breaks off: {len(pixel_data) - begin} of {length} bytes are there"
        )
    return pixel_data[begin : begin + length], begin + length
