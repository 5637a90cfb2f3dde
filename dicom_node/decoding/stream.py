"""Terms that all code streams share: their header, and the error of one that is not whole."""

from dataclasses import dataclass


class BrokenStream(ValueError):
    """A code stream is cut, contradicts the attributes of its image, or exceeds a bound.

    Decoders repair such streams silently: a JPEG Lossless stream cut to 60 % decodes to a picture
    whose liver has five times its volume. The message names no value of the patient.
    """


@dataclass(frozen=True)
class StreamHeader:
    """The picture that a code stream announces."""

    rows: int
    columns: int
    samples: int
    """Components, as Samples per Pixel (0028,0002)."""
    bits: int
    """Precision of one sample."""


def number(stream: bytes, at: int, size: int) -> int:
    """Return a big-endian unsigned integer of `size` bytes.

    Raises:
        BrokenStream: the stream ends before it.
    """
    if at + size > len(stream):
        raise BrokenStream(f"the code stream breaks off after {len(stream)} bytes")
    return int.from_bytes(stream[at : at + size], "big")
