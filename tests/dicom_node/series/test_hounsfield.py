"""Stored pixels to Hounsfield units, slice by slice."""

import numpy as np
import pytest
from pydicom.uid import (
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from dicom_node.errors import UnsupportedSeries
from dicom_node.series.frames import frames_of
from dicom_node.series.hounsfield import hounsfield
from dicom_node.series.reading import read_series
from dicom_node.series.volume import to_volume


@pytest.fixture
def slice_of(ct_series):
    """Make one slice of given stored values and attributes."""

    def make(stored, dtype=np.uint16, **attributes):
        (instance,) = ct_series(slices=1, rows=1, columns=len(stored))
        instance.PixelRepresentation = int(np.issubdtype(dtype, np.signedinteger))
        instance.PixelData = np.array(stored, dtype).tobytes()
        for keyword, value in attributes.items():
            setattr(instance, keyword, value)
        return instance

    return make


def read(instance):
    (frame,) = frames_of([instance])
    return hounsfield(frame)[0].tolist()


def test_unsigned_values_are_rescaled(slice_of):
    assert read(slice_of([0, 1024, 1064, 4095])) == [-1024, 0, 40, 3071]


def test_signed_values_are_rescaled(slice_of):
    found = read(slice_of([-1000, 0, 40, 900], np.int16, RescaleIntercept=0))
    assert found == [-1000, 0, 40, 900]


def test_a_slope_with_a_fraction_is_rounded_once(slice_of):
    instance = slice_of([0, 1, 2, 3], RescaleSlope=0.25, RescaleIntercept="-0.4")
    assert read(instance) == [0, 0, 0, 0]
    assert read(slice_of([1, 2, 3, 4], RescaleSlope=2.5, RescaleIntercept="0.1")) == [3, 5, 8, 10]


def test_values_beyond_12_bits_are_clipped(slice_of):
    assert read(slice_of([65535, 30000], RescaleIntercept=-1024)) == [3071, 3071]
    assert read(slice_of([-32768, 32767], np.int16, RescaleSlope=100)) == [-1024, 3071]


@pytest.mark.parametrize("padding", [-2000, -3024, -32768])
def test_padding_becomes_air(slice_of, padding):
    assert read(slice_of([padding, 40], np.int16, RescaleIntercept=0)) == [-1024, 40]


def test_bright_padding_becomes_air_not_metal(slice_of):
    instance = slice_of([65535, 4000, 1064], PixelPaddingValue=65535)
    assert read(instance) == [-1024, 2976, 40]


def test_a_padding_range_has_two_ends(slice_of):
    instance = slice_of(
        [59999, 60000, 62000, 65000, 65001], PixelPaddingValue=60000, PixelPaddingRangeLimit=65000
    )
    assert read(instance) == [3071, -1024, -1024, -1024, 3071]
    instance.PixelPaddingValue, instance.PixelPaddingRangeLimit = 65000, 60000
    assert read(instance) == [3071, -1024, -1024, -1024, 3071]


def test_an_empty_padding_limit_is_none(slice_of):
    instance = slice_of([65535, 1064], PixelPaddingValue=65535, PixelPaddingRangeLimit=None)
    assert read(instance) == [-1024, 40]


def test_padding_that_the_stored_bits_cannot_hold_is_found_in_the_whole_words(slice_of):
    """-3024 in 12 signed bits would read as 1072: brighter than any tissue."""
    stored = {"BitsStored": 12, "HighBit": 11, "RescaleIntercept": 0}
    instance = slice_of([-3024, 40], np.int16, **stored)
    instance.add_new("PixelPaddingValue", "SS", -3024)
    assert read(instance) == [-1024, 40]


def test_padding_written_in_the_wrong_sign_is_understood(slice_of):
    """63536 (US) stands for -2000 in signed pixels, as in a real series."""
    instance = slice_of([-2000, 1064], np.int16)
    instance.add_new("PixelPaddingValue", "US", 63536)
    assert read(instance) == [-1024, 40]


def test_padding_among_tissue_is_left_alone(slice_of):
    assert read(slice_of([1064, 0], PixelPaddingValue=1064)) == [40, -1024]


def test_a_padding_range_that_begins_in_tissue_is_left_alone_whole(slice_of):
    instance = slice_of([1064, 9000, 0], PixelPaddingValue=1064, PixelPaddingRangeLimit=9000)
    assert read(instance) == [40, 3071, -1024]


def test_bits_above_those_stored_are_no_part_of_the_value(slice_of):
    instance = slice_of([0xF000 | 1064, 1064], BitsStored=12, HighBit=11)
    assert read(instance) == [40, 40]


def test_pixel_data_that_is_too_short_is_refused(ct_series):
    instances = ct_series()
    instances[3].PixelData = instances[3].PixelData[:-100]
    message = f"{instances[3].SOPInstanceUID} has 540 bytes, 640 are needed"
    with pytest.raises(UnsupportedSeries, match=message):
        to_volume(instances)


@pytest.mark.parametrize("syntax", ["", "1.2.3", JPEGBaseline8Bit, RLELossless, JPEGLSLossless])
def test_pixels_that_cannot_be_decoded_are_refused(ct_series, syntax):
    instances = ct_series()
    instances[2].file_meta.TransferSyntaxUID = syntax
    instances[2].PixelData += b"\0\0"  # of the expected length pydicom only warns
    with pytest.raises(UnsupportedSeries, match=r"; (send|correct)"):
        to_volume(instances)


def test_missing_pixels_are_refused(ct_series):
    instances = ct_series()
    del instances[0].PixelData
    with pytest.raises(UnsupportedSeries, match="has 0 bytes"):
        to_volume(instances)


def test_colours_are_refused(ct_series):
    instances = ct_series()
    for instance in instances:
        instance.SamplesPerPixel, instance.PhotometricInterpretation = 3, "RGB"
        instance.PlanarConfiguration = 0
        instance.PixelData *= 3
    with pytest.raises(UnsupportedSeries, match=r"pixels are colours \(RGB\)"):
        to_volume(instances)


@pytest.fixture
def encoded(shared_data):
    """Find one slice by its transfer syntax, as two slices of a stack."""

    def find(syntax):
        folder = shared_data / "odd" / "transfer_syntaxes"
        (path,) = folder.glob(f"*_1.2.840.10008.1.2{syntax}.dcm")
        (below,), (above,) = read_series([path]), read_series([path])
        above.SOPInstanceUID = "2.25.1"
        above.ImagePositionPatient = [*above.ImagePositionPatient[:2], 9.7]
        return [below, above]

    return find


@pytest.mark.parametrize("syntax", ["", ".2", ".1.99", ".4.57", ".4.70", ".4.80", ".4.90", ".5"])
def test_every_lossless_encoding_gives_the_same_slice(encoded, syntax):
    plain, other = encoded(".1"), encoded(syntax)
    np.testing.assert_array_equal(to_volume(other).hu, to_volume(plain).hu)


@pytest.mark.parametrize(
    ("syntax", "error_hu"), [(".4.50", 66), (".4.51", 37), (".4.81", 1), (".4.91", 5)]
)
def test_lossy_encodings_are_read_within_their_loss(encoded, syntax, error_hu):
    plain, other = encoded(".1"), encoded(syntax)
    difference = to_volume(other).hu.astype(int) - to_volume(plain).hu
    assert np.abs(difference).max() <= error_hu


@pytest.mark.parametrize("syntax", [".4.53", ".4.55"])
def test_retired_encodings_are_refused_by_name(encoded, syntax):
    with pytest.raises(
        UnsupportedSeries, match=r"JPEG .*Non-Hierarchical.* cannot be decoded here"
    ):
        to_volume(encoded(syntax))
