"""No picture comes of pixel data that are not whole, or not those of their image."""

import struct

import numpy as np
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_node.decoding.decode import decode_frame
from dicom_node.decoding.jpeg import jpeg_header
from dicom_node.decoding.stream import BrokenStream
from tests.dicom_node.decoding.streams import SYNTAXES, compressed_slice, plain_slice

CUTS = [percent / 100 for percent in (10, 17, 25, 33, 40, 50, 60, 66, 75, 80, 85, 90, 93, 95)]


@pytest.fixture
def compressed(ct_series, tmp_path):
    return lambda syntax: compressed_slice(ct_series, syntax, tmp_path)


def stream_of(instance):
    return next(generate_frames(instance.PixelData, number_of_frames=1))


def put(instance, *streams):
    instance.PixelData = encapsulate(list(streams))
    instance["PixelData"].is_undefined_length = True


def decode(instance, index=0):
    return decode_frame(instance, index, instance.file_meta.TransferSyntaxUID)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda each: each.name)
def test_a_whole_stream_is_decoded(compressed, syntax):
    picture = decode(compressed(syntax))
    assert picture.shape == (96, 80)
    assert np.ptp(picture) > 100


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda each: each.name)
def test_a_cut_stream_is_refused(compressed, syntax):
    instance = compressed(syntax)
    stream = stream_of(instance)
    for part in CUTS:
        put(instance, stream[: int(len(stream) * part)])
        with pytest.raises(BrokenStream):
            decode(instance)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda each: each.name)
def test_a_stream_cut_at_any_byte_is_refused(compressed, syntax):
    instance = compressed(syntax)
    stream = stream_of(instance)
    whole = stream.rstrip(b"\0")
    at = np.random.default_rng(3).integers(1, len(whole) - 2, 60)
    for end in at:
        put(instance, stream[:end])
        with pytest.raises(BrokenStream):
            decode(instance)


def lossless_jpeg(data_bytes, rows=100, columns=80):
    """Return a lossless JPEG stream (SOF3) that is whole by its markers, with so much data."""
    frame = struct.pack(">HBHHBBBB", 11, 16, rows, columns, 1, 1, 0x11, 0)
    scan = struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 0, 0)
    data = b"\x55" * data_bytes
    return b"\xff\xd8\xff\xc3" + frame + b"\xff\xda" + scan + data + b"\xff\xd9"


def test_a_lossless_jpeg_with_fewer_bits_than_pixels_is_refused():
    assert jpeg_header(lossless_jpeg(1000)).rows == 100
    with pytest.raises(BrokenStream, match="999 bytes of lossless JPEG cannot hold 100 x 80"):
        jpeg_header(lossless_jpeg(999))


def test_a_cut_tile_that_states_no_length_is_refused(compressed):
    """The last may reach up to the end marker (T.800 A.4.2); scanners that stream write it so."""
    instance = compressed(JPEG2000Lossless)
    stream = bytearray(stream_of(instance))
    length = stream.rfind(b"\xff\x90") + 6
    stream[length : length + 4] = bytes(4)
    put(instance, bytes(stream))
    assert np.ptp(decode(instance)) > 100
    for part in CUTS:
        put(instance, bytes(stream[: int(len(stream) * part)]))
        with pytest.raises(BrokenStream, match=r"no end marker|breaks off"):
            decode(instance)


@pytest.mark.parametrize("keyword", ["Rows", "Columns"])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda each: each.name)
def test_a_stream_of_another_size_is_refused(compressed, syntax, keyword):
    instance = compressed(syntax)
    setattr(instance, keyword, 4000)
    with pytest.raises(BrokenStream):
        decode(instance)


BIGGER = {
    JPEG2000Lossless: (b"\xff\x51", 6, struct.pack(">II", 30000, 30000)),
    JPEGLSLossless: (b"\xff\xf7", 5, struct.pack(">HH", 65535, 65535)),
    JPEGLosslessSV1: (b"\xff\xc3", 5, struct.pack(">HH", 65535, 65535)),
}


@pytest.mark.parametrize("syntax", BIGGER, ids=lambda each: each.name)
def test_a_stream_that_announces_another_size_is_refused_before_it_is_decoded(
    compressed, syntax, monkeypatch
):
    def never(_):
        raise AssertionError("the decoder was called")

    instance = compressed(syntax)
    stream = bytearray(stream_of(instance))
    marker, offset, size = BIGGER[syntax]
    at = stream.find(marker) + offset
    stream[at : at + len(size)] = size
    put(instance, bytes(stream))
    monkeypatch.setattr("dicom_node.decoding.decode.pool.run", never)
    with pytest.raises(BrokenStream, match=r"pixels|tiles"):
        decode(instance)


def test_precision_and_samples_are_compared(compressed):
    instance = compressed(JPEGLosslessSV1)
    stream = bytearray(stream_of(instance))
    stream[stream.find(b"\xff\xc3") + 4] = 8
    instance.SamplesPerPixel = 1
    whole = instance.PixelData
    put(instance, bytes(stream))
    with pytest.raises(BrokenStream, match="8 bits, its attributes 12 of 16"):
        decode(instance)
    instance.PixelData, instance.SamplesPerPixel = whole, 3
    with pytest.raises(BrokenStream, match="1 samples per pixel, its attributes 3"):
        decode(instance)


def test_a_picture_too_large_to_be_read_is_refused(ct_series):
    instance = plain_slice(ct_series)
    instance.Rows = instance.Columns = 65535
    with pytest.raises(BrokenStream, match="65535 x 65535 pixels"):
        decode(instance)


def test_too_many_frames_are_refused(ct_series):
    instance = plain_slice(ct_series)
    instance.NumberOfFrames = 1_000_000
    with pytest.raises(BrokenStream, match="1000000 frames"):
        decode(instance)


def test_an_rle_segment_longer_than_the_picture_is_refused(compressed):
    """pylibjpeg-rle panics: pyo3's PanicException is no Exception."""
    instance = compressed(RLELossless)
    segment = b"\x81\x00" * (96 * 80 // 128 + 20)
    header = struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13)
    put(instance, header + segment + segment)
    with pytest.raises(BrokenStream):
        decode(instance)


@pytest.fixture
def two_frames(compressed):
    """An instance of two frames, with a table of offsets and without."""

    def make(table=True):
        instance = compressed(JPEGLSLossless)
        stream = stream_of(instance)
        instance.NumberOfFrames = 2
        instance.PixelData = encapsulate([stream, stream], has_bot=table)
        instance["PixelData"].is_undefined_length = True
        return instance

    return make


@pytest.mark.parametrize("table", [True, False])
def test_each_of_several_frames_is_decoded(two_frames, table):
    instance = two_frames(table)
    assert np.array_equal(decode(instance, 0), decode(instance, 1))


def test_a_table_that_points_elsewhere_is_refused(two_frames):
    instance = two_frames()
    data = bytearray(instance.PixelData)
    for wrong in (2, 4_000_000):
        data[12:16] = struct.pack("<L", wrong)
        instance.PixelData = bytes(data)
        with pytest.raises(BrokenStream):
            decode(instance, 0)


def test_a_frame_that_is_missing_is_refused(two_frames):
    for table in (True, False):
        instance = two_frames(table)
        instance.NumberOfFrames = 3
        with pytest.raises(BrokenStream):
            decode(instance, 0)


def test_a_fragment_that_breaks_off_is_refused(compressed):
    instance = compressed(JPEGLSLossless)
    instance.PixelData = instance.PixelData[:-400]
    with pytest.raises(BrokenStream, match="a fragment breaks off"):
        decode(instance)


def test_uncompressed_pixels_are_read_as_before(ct_series):
    instance = plain_slice(ct_series)
    stored = np.frombuffer(instance.PixelData, np.uint16).reshape(96, 80)
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    assert np.array_equal(decode(instance), stored)
