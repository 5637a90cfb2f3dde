"""Markers of JPEG 2000 code streams (ISO 15444-1, annex A), High-Throughput ones among them."""

from math import ceil

from dicom_node.decoding.stream import BrokenStream, StreamHeader, number

START_AND_SIZE = 0xFF4FFF51
TILE_PART, END = 0xFF90, 0xFFD9
TILE_PART_HEADER_BYTES = 12

JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
CODE_STREAM_BOX = b"jp2c"


def jpeg2000_header(stream: bytes) -> StreamHeader:
    """Return the header of a JPEG 2000 stream that holds every tile and reaches its end marker.

    Raises:
        BrokenStream: it is cut, or is no JPEG 2000 stream.
    """
    if stream.startswith(JP2_SIGNATURE):  # not allowed (PS3.5 A.4.4), yet seen and decoded
        stream = _unboxed(stream)
    if number(stream, 0, 4) != START_AND_SIZE:
        raise BrokenStream("the code stream does not begin as JPEG 2000 does")
    header, tiles = _size(stream)
    found = _tiles(stream)
    if found != set(range(tiles)):
        raise BrokenStream(f"the code stream has {len(found)} of {tiles} tiles")
    return header


def _size(stream: bytes) -> tuple[StreamHeader, int]:
    """Return the header, and how many tiles the picture has."""
    # SIZ after SOC: eight numbers from byte 8 on, the components from 40 on (ITU-T T.800 A.5.1).
    width, height, left, top = (number(stream, 8 + 4 * i, 4) for i in range(4))
    tile_width, tile_height, tile_left, tile_top = (number(stream, 24 + 4 * i, 4) for i in range(4))
    samples = number(stream, 40, 2)
    if not (left < width and top < height and tile_width and tile_height and samples):
        raise BrokenStream("the code stream announces an empty picture")
    # XRsiz and YRsiz, 1 each.
    subsampled = {number(stream, 42 + 3 * i + 1, 2) for i in range(samples)} - {0x0101}
    if subsampled:
        raise BrokenStream("the components of the code stream are of different sizes")
    tiles = ceil((width - tile_left) / tile_width) * ceil((height - tile_top) / tile_height)
    # The highest bit is the sign; the others hold the depth less one.
    bits = max((number(stream, 42 + 3 * i, 1) & 0x7F) + 1 for i in range(samples))
    return StreamHeader(height - top, width - left, samples, bits), tiles


def _tiles(stream: bytes) -> set[int]:
    """Go from tile-part to tile-part up to the end of the image; return the tiles there are."""
    at, tiles = _main_header_end(stream), set()
    while (marker := number(stream, at, 2)) == TILE_PART:
        # SOT: marker, its length, the tile, the length of the tile-part (T.800 A.4.2).
        tiles.add(number(stream, at + 4, 2))
        length = number(stream, at + 6, 4)
        if length == 0:  # the last one, up to the end marker
            # Without the null that pads a fragment to even length.
            if stream.rstrip(b"\0")[-2:] != b"\xff\xd9":
                raise BrokenStream("the code stream breaks off: it has no end marker")
            return tiles
        if length < TILE_PART_HEADER_BYTES or at + length > len(stream):
            raise BrokenStream(f"the code stream breaks off within tile {max(tiles)}")
        at += length
    if marker != END:
        raise BrokenStream("the code stream breaks off: it has no end marker")
    return tiles


def _main_header_end(stream: bytes) -> int:
    at = 2
    while (marker := number(stream, at, 2)) != TILE_PART:
        # Markers of a main header lie in this range (T.800 table A.2).
        if not 0xFF50 <= marker < TILE_PART:
            raise BrokenStream(f"the code stream has {marker:04X} where a marker must be")
        at += 2 + number(stream, at + 2, 2)
    return at


def _unboxed(stream: bytes) -> bytes:
    at = 0
    while stream[at + 4 : at + 8] != CODE_STREAM_BOX:
        length = number(stream, at, 4)
        # 0 ("to the end") and 1 (a 64-bit length follows) are not read.
        if length < 8:
            raise BrokenStream("the JP2 file holds no code stream")
        at += length
    return stream[at + 8 :]
