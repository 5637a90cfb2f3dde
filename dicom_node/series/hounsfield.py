"""Stored pixels of one slice as Hounsfield units."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.attributes import UNREADABLE, value_of
from dicom_node.decoding.decode import decode_frame
from dicom_node.decoding.rescale import rescale_of
from dicom_node.decoding.stream import BrokenStream
from dicom_node.errors import UnsupportedSeries
from dicom_node.series.frames import Frame
from dicom_node.series.pixel_format import padding_range, stored_range

ITEM = b"\xfe\xff\x00\xe0"
"""Begins encapsulated pixel data, as the first item's tag (PS3.5 A.4)."""

AIR_HU, HIGHEST_HU = -1024, 3071
"""Range of 12-bit CT. Padding (-2000, -3024) lies below and becomes air; only metal lies above.
All of it is a whole number in int16, and float16 is exact up to 2048."""


def hounsfield(frame: Frame) -> NDArray[np.int16]:
    """Return (rows, columns) Hounsfield units of one slice, from -1024 to 3071, as it is stored.

    Raises:
        UnsupportedSeries: the pixels are not there, not all there, or cannot be decoded.
    """
    stored = _stored(frame)
    try:
        slope, intercept = rescale_of(frame.header)
    except BrokenStream as error:
        raise UnsupportedSeries(f"{frame.name} cannot be read: {error}") from error
    bright = _bright_padding(frame, stored, slope, intercept)
    # The usual case needs no floats. Within these bounds every value fits int16 before the shift
    # and after it.
    if slope == 1 and intercept.is_integer() and -(2**13) < intercept < HIGHEST_HU:
        hu = _shifted(stored, int(intercept))
    else:
        hu = _rescaled(stored, slope, intercept)
    if bright is not None:
        hu[bright] = AIR_HU
    return hu


def _shifted(stored: NDArray[Any], intercept: int) -> NDArray[np.int16]:
    """Clip before the shift, where every value still fits: half the memory to walk through."""
    info = np.iinfo(stored.dtype)
    low, high = max(AIR_HU - intercept, info.min), min(HIGHEST_HU - intercept, info.max)
    # In place: the stored pixels are a copy of this call, and nobody else has them.
    hu = np.clip(stored, low, high, out=stored).astype(np.int16)
    hu += np.int16(intercept)
    return hu


def _rescaled(stored: NDArray[Any], slope: float, intercept: float) -> NDArray[np.int16]:
    hu = stored.astype(np.float32)  # exact for 24 bits
    hu *= np.float32(slope)
    hu += np.float32(intercept)
    return np.clip(np.rint(hu, out=hu), AIR_HU, HIGHEST_HU, out=hu).astype(np.int16)


def _bright_padding(
    frame: Frame, stored: NDArray[Any], slope: float, intercept: float
) -> NDArray[np.bool_] | None:
    """Return where padding is that would pass for something denser than air, if there is any.

    Dark padding becomes air by itself. Padding among the values of tissue is left alone: it
    cannot be told from a pixel that means it. A padding value that the stored bits cannot hold is
    looked for in the whole words: cut to its lower bits it would be a value of tissue.
    """
    padding = padding_range(frame.instance)
    if padding is None:
        return None
    low, high = padding
    least, most = stored_range(frame.instance)
    # Padding of -2000 in pixels of 12 bits, say, as some scanners write it.
    if not least <= low <= high <= most:
        return _padded_words(frame, stored.shape, low, high)
    # The clip that follows leaves nothing brighter: other padding is within tissue, or dark.
    if low * slope + intercept <= HIGHEST_HU:
        return None
    return (stored >= low) & (stored <= high)


def _padded_words(
    frame: Frame, shape: tuple[int, ...], low: int, high: int
) -> NDArray[np.bool_] | None:
    """Return where the words as stored, with all of their bits, are padding."""
    instance = frame.instance
    if _transfer_syntax(instance) not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        return None
    if int(value_of(instance, "BitsAllocated") or 16) != 16:
        return None
    signed = value_of(instance, "PixelRepresentation") == 1
    words = np.frombuffer(instance.PixelData, "<i2" if signed else "<u2")
    size = int(np.prod(shape))
    # Frames follow one another without a gap (PS3.5 8.1.1).
    words = words[(frame.number - 1) * size : frame.number * size]
    # Colours or cut pixels, which others refuse with a reason.
    if words.size != size:
        return None
    found: NDArray[np.bool_] = ((words >= low) & (words <= high)).reshape(shape)
    return found


def _stored(frame: Frame) -> NDArray[Any]:
    instance = frame.instance
    syntax = _transfer_syntax(instance)
    if not syntax.is_transfer_syntax:
        raise UnsupportedSeries(
            f"pixels of {frame.name} are in transfer syntax {str(syntax)[:64]!r}, which is none; "
            "send the instance with the transfer syntax it is written in"
        )
    _require_pixels(frame, syntax)
    try:
        return decode_frame(instance, frame.number - 1, syntax)
    except NotImplementedError as error:
        raise UnsupportedSeries(
            f"pixels of {frame.name} are in {syntax.name!r}, which cannot be decoded here; "
            "send them uncompressed, or as JPEG 2000, JPEG-LS, lossless JPEG or RLE"
        ) from error
    except (RuntimeError, *UNREADABLE) as error:
        raise UnsupportedSeries(
            f"pixels of {frame.name} cannot be decoded: {error}; send the instance again"
        ) from error


def _require_pixels(frame: Frame, syntax: UID) -> None:
    instance = frame.instance
    try:
        pixels = instance.get("PixelData") or b""
    except UNREADABLE:
        pixels = b""
    needed = _frame_bytes(instance) * int(value_of(instance, "NumberOfFrames") or 1)
    if syntax.is_encapsulated and pixels and not pixels.startswith(ITEM):
        raise UnsupportedSeries(
            f"the transfer syntax of {frame.name} says {syntax.name}, but its pixels are not "
            "compressed; correct TransferSyntaxUID (0002,0010) of the files, or export the series "
            "again from the archive"
        )
    # Longer is allowed: a padding byte, and what some writers leave behind.
    if len(pixels) < (1 if syntax.is_encapsulated else needed):
        raise UnsupportedSeries(
            f"pixel data of {frame.name} has {len(pixels)} bytes, {needed} are needed; "
            "the instance was cut short: export it again from the archive, and send it"
        )


def _frame_bytes(instance: Dataset) -> int:
    bits = int(value_of(instance, "BitsAllocated") or 16)
    return int(instance.Rows * instance.Columns * bits // 8)


def _transfer_syntax(instance: Dataset) -> UID:
    meta = getattr(instance, "file_meta", None)
    return UID((meta.get("TransferSyntaxUID") if meta is not None else None) or "")
