"""From the stored pixels of one slice to Hounsfield units."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import UID

from dicom_node.decoding.decode import decode_frame
from dicom_node.decoding.rescale import rescale_of
from dicom_node.decoding.stream import BrokenStream
from dicom_node.errors import UnsupportedSeries
from dicom_node.series.frames import Frame

AIR_HU, HIGHEST_HU = -1024, 3071
"""What 12-bit CT can say. Padding (-2000, -3024) lies below and becomes air; only metal lies
above. All of it is a whole number in int16, and float16 is exact up to 2048."""


def hounsfield(frame: Frame) -> NDArray[np.int16]:
    """(rows, columns) Hounsfield units of one slice, from -1024 to 3071, as it is stored.

    Raises:
        UnsupportedSeries: the pixels are not there, not all there, or cannot be decoded.
    """
    stored = _stored(frame)
    try:
        slope, intercept = rescale_of(frame.header)
    except BrokenStream as error:
        raise UnsupportedSeries(f"{frame.name} cannot be read: {error}") from error
    bright = _bright_padding(frame, stored, slope, intercept)
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
    """Where padding is that would pass for metal, if there is any (PS3.3 C.7.5.1.1.2).

    Dark padding becomes air by itself. Padding among the values of tissue is left alone: it
    cannot be told from a pixel that means it.
    """
    padding = frame.instance.get("PixelPaddingValue")
    if not isinstance(padding, int):
        return None
    limit = frame.instance.get("PixelPaddingRangeLimit", padding)
    both = np.array([padding, limit]).astype(stored.dtype)  # US where SS is meant, and reverse
    low, high = int(both.min()), int(both.max())
    if low * slope + intercept <= HIGHEST_HU:
        return None
    return (stored >= low) & (stored <= high)


def _stored(frame: Frame) -> NDArray[Any]:
    instance = frame.instance
    syntax = _transfer_syntax(instance)
    if not syntax.is_transfer_syntax:
        raise UnsupportedSeries(
            f"pixels of {frame.name} are in transfer syntax {str(syntax)!r}, which is none; "
            "send the instance with the one it is written in"
        )
    _require_pixels(frame, syntax)
    try:
        return decode_frame(instance, frame.number - 1, syntax)
    except NotImplementedError as error:
        raise UnsupportedSeries(
            f"pixels of {frame.name} are in {syntax.name!r}, which cannot be decoded here; "
            "send them uncompressed, or as JPEG 2000, JPEG-LS, lossless JPEG or RLE"
        ) from error
    except (ValueError, RuntimeError, AttributeError, IndexError, EOFError) as error:
        raise UnsupportedSeries(
            f"pixels of {frame.name} cannot be decoded: {error}; send the instance again"
        ) from error


def _require_pixels(frame: Frame, syntax: UID) -> None:
    instance = frame.instance
    present = len(instance.get("PixelData") or b"")
    needed = 1 if syntax.is_encapsulated else _frame_bytes(instance)
    needed *= int(instance.get("NumberOfFrames") or 1)
    if present < needed:
        raise UnsupportedSeries(
            f"pixel data of {frame.name} has {present} bytes, {needed} are needed; "
            "it was cut short: send the instance again"
        )


def _frame_bytes(instance: Dataset) -> int:
    return int(instance.Rows * instance.Columns * (instance.get("BitsAllocated") or 16) // 8)


def _transfer_syntax(instance: Dataset) -> UID:
    meta = getattr(instance, "file_meta", None)
    return UID((meta.get("TransferSyntaxUID") if meta is not None else None) or "")
