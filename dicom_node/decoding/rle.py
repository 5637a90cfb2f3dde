"""Header of RLE frames (PS3.5 G.5)."""

import struct
from itertools import pairwise

from dicom_node.decoding.stream import BrokenStream

HEADER_BYTES, MOST_SEGMENTS = 64, 15


def require_rle_segments(stream: bytes, expected: int) -> None:
    """Return if the segment table fits the stream and the image.

    The decoder compares the length of each decoded segment itself.

    Args:
        stream: one frame.
        expected: segments, one for each byte of a pixel.

    Raises:
        BrokenStream: it is cut, or holds another number of segments.
    """
    if len(stream) < HEADER_BYTES:
        raise BrokenStream(f"the RLE frame breaks off after {len(stream)} bytes")
    # The number of segments and 15 offsets, always; unused ones are 0.
    count, *offsets = struct.unpack("<16L", stream[:HEADER_BYTES])
    if count != expected:
        raise BrokenStream(f"the RLE frame has {count} segments; its image needs {expected}")
    bounds = [*offsets[:count], len(stream)]
    if bounds[0] != HEADER_BYTES or any(a >= b for a, b in pairwise(bounds)):
        raise BrokenStream("the RLE frame breaks off: its segments reach beyond its end")
