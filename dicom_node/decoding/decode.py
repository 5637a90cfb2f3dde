"""Decode one frame of pixel data, once it has been checked that all of it is there."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_node.decoding.bounds import require_bounded
from dicom_node.decoding.fragments import Table, frame_stream
from dicom_node.decoding.jpeg import jpeg_header, jpeg_ls_header
from dicom_node.decoding.jpeg2000 import jpeg2000_header
from dicom_node.decoding.process_pool import pool
from dicom_node.decoding.requests import DecodeFrame
from dicom_node.decoding.rle import require_rle_segments
from dicom_node.decoding.stream import BrokenStream, StreamHeader

PLUGIN = "pylibjpeg"
"""Decodes compressed pixels, whatever else is installed."""
PLUGINS = {JPEGLSLossless: "pyjpegls", JPEGLSNearLossless: "pyjpegls"}
"""CharLS refuses damaged JPEG-LS streams, 90 % of which pylibjpeg decodes without an error."""

PIXEL_ATTRIBUTES = (
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)
"""Attributes that a decoder needs (PS3.3 C.7.6.3)."""

HEADERS: dict[UID, Callable[[bytes], StreamHeader]] = {
    **dict.fromkeys(
        (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1), jpeg_header
    ),
    **dict.fromkeys((JPEGLSLossless, JPEGLSNearLossless), jpeg_ls_header),
    **dict.fromkeys(
        (JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K), jpeg2000_header
    ),
}


def decodes(syntax: UID) -> bool:
    """Return whether pixels in a transfer syntax can be decoded."""
    if not syntax.is_encapsulated:
        return True
    try:
        return _plugin(syntax) in get_decoder(syntax).available_plugins
    except NotImplementedError:
        return False


def decode_frame(instance: Dataset, index: int, syntax: UID) -> NDArray[Any]:
    """Return (rows, columns) stored values of one frame.

    Args:
        instance: with its pixel data.
        index: of the frame, from 0.
        syntax: its transfer syntax.

    Raises:
        BrokenStream: the frame is not whole, contradicts its attributes, or cannot be decoded.
        NotImplementedError: nothing here decodes the transfer syntax.
    """
    require_bounded(instance)
    if syntax.is_encapsulated:
        return _decode_elsewhere(instance, index, syntax)
    # raw: stored values, converted to nothing. In this process: there is no code stream to crash
    # on.
    array, _ = get_decoder(syntax).as_array(instance, raw=True, index=index)
    _require_shape(array, instance)
    return array


def _decode_elsewhere(instance: Dataset, index: int, syntax: UID) -> NDArray[Any]:
    """Decode a code stream in a process of its own, which may crash, hang or run out of memory."""
    if not decodes(syntax):
        raise NotImplementedError(syntax.name)
    stream = whole_stream(instance, index, syntax)
    attributes = {keyword: instance.get(keyword) for keyword in PIXEL_ATTRIBUTES}
    present = {keyword: value for keyword, value in attributes.items() if value is not None}
    array: NDArray[Any] = pool.run(DecodeFrame(stream, syntax, _plugin(syntax), present))
    _require_shape(array, instance)
    return array


def whole_stream(instance: Dataset, index: int, syntax: UID) -> bytes:
    """Return the code stream of a frame, if it is whole and is that of its image.

    Raises:
        BrokenStream: it is cut, or its size, samples or precision differ from the attributes.
    """
    frames = int(instance.get("NumberOfFrames") or 1)
    stream = frame_stream(instance.PixelData, index, frames, _extended_table(instance))
    samples, allocated = int(instance.SamplesPerPixel), int(instance.BitsAllocated)
    if syntax == RLELossless:
        require_rle_segments(stream, samples * allocated // 8)
    elif read_header := HEADERS.get(syntax):
        _require_same(read_header(stream), instance)
    return stream


def _require_same(found: StreamHeader, instance: Dataset) -> None:
    size, wanted = (found.rows, found.columns), (int(instance.Rows), int(instance.Columns))
    if size != wanted:
        raise BrokenStream(
            f"the code stream has {size[0]} x {size[1]} pixels, its attributes {wanted[0]} x"
            f" {wanted[1]}"
        )
    if found.samples != instance.SamplesPerPixel:
        raise BrokenStream(
            f"the code stream has {found.samples} samples per pixel, its attributes"
            f" {instance.SamplesPerPixel}"
        )
    # Encoders write either: the bits that are stored, or all that are allocated.
    if not int(instance.BitsStored) <= found.bits <= int(instance.BitsAllocated):
        raise BrokenStream(
            f"the code stream has {found.bits} bits, its attributes {instance.BitsStored} of"
            f" {instance.BitsAllocated}"
        )


def _require_shape(array: NDArray[Any], instance: Dataset) -> None:
    expected = (int(instance.Rows), int(instance.Columns))
    if np.shape(array) != expected:
        raise BrokenStream(f"the decoded frame has shape {np.shape(array)}, not {expected}")


def _extended_table(instance: Dataset) -> Table | None:
    offsets, lengths = (
        instance.get(keyword) for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
    )
    # One without the other is useless; the items are then read in their order.
    if not offsets or not lengths:
        return None
    return tuple(  # type: ignore[return-value]
        [int.from_bytes(table[at : at + 8], "little") for at in range(0, len(table), 8)]
        for table in (offsets, lengths)
    )


def _plugin(syntax: UID) -> str:
    return PLUGINS.get(syntax, PLUGIN)
