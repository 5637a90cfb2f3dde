"""Sizes and numbers that no CT has are refused by name, before anything is allocated."""

import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_node.decoding.bounds import require_bounded_volume
from dicom_node.decoding.file_bounds import require_bounded_file
from dicom_node.decoding.rescale import rescale_of
from dicom_node.decoding.stream import BrokenStream
from dicom_node.errors import UnsupportedSeries
from dicom_node.series.reading import read_series
from dicom_node.series.volume import to_volume


def rescale(slope, intercept="-1024"):
    # pydicom refuses some of these when they are set, not when they are read.
    values = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    return SimpleNamespace(get=values.get)


@pytest.mark.parametrize("slope", ["1e300", "-1e300", "inf", "-inf", "nan", "0", "-1", "1e-300"])
def test_a_slope_that_no_ct_has_is_refused_by_name(slope):
    with pytest.raises(BrokenStream, match="RescaleSlope is"):
        rescale_of(rescale(slope))


def test_a_slope_that_is_no_number_is_refused_by_name():
    with pytest.raises(BrokenStream, match="RescaleSlope is no number"):
        rescale_of(rescale("1,5"))


@pytest.mark.parametrize("intercept", ["1e300", "inf", "-inf", "nan"])
def test_an_intercept_that_no_ct_has_is_refused_by_name(intercept):
    with pytest.raises(BrokenStream, match="RescaleIntercept is"):
        rescale_of(rescale("1", intercept))


def test_a_slice_without_rescale_has_stored_values():
    assert rescale_of(Dataset()) == (1.0, 0.0)


def test_a_series_with_an_infinite_slope_is_refused(ct_series):
    series = ct_series()
    for instance in series:
        instance.RescaleSlope = float("inf")
    with pytest.raises(UnsupportedSeries, match="RescaleSlope is"):
        to_volume(series)


SINGULAR = [
    ("PixelSpacing", [0, 0]),
    ("PixelSpacing", [1e300, 1e300]),
    ("PixelSpacing", [-1, 1]),
    ("ImageOrientationPatient", [0] * 6),
    ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
    ("ImagePositionPatient", [0, 0, 0]),
]


@pytest.mark.parametrize(("keyword", "value"), SINGULAR)
def test_a_geometry_without_volume_is_refused(ct_series, keyword, value):
    series = ct_series()
    for instance in series:
        setattr(instance, keyword, value)
    with pytest.raises(UnsupportedSeries):
        to_volume(series)


def test_a_volume_too_large_is_not_allocated():
    require_bounded_volume((600, 512, 512), np.eye(4))
    with pytest.raises(BrokenStream, match="100000 x 512 x 512 voxels"):
        require_bounded_volume((100_000, 512, 512), np.eye(4))


@pytest.fixture
def deflated(ct_series, tmp_path):
    """A slice as a deflated file; its length is that of its deflated part and of what precedes."""
    (instance,) = ct_series(slices=1, rows=64, columns=64)
    instance.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = tmp_path / "deflated.dcm"
    instance.save_as(path, enforce_file_format=True)
    return path


def data_set_start(path):
    return 144 + dcmread(path).file_meta.FileMetaInformationGroupLength


def test_a_whole_deflated_file_is_read(deflated):
    require_bounded_file(deflated)
    assert read_series([deflated])[0].Rows == 64


@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.7, 0.9, 0.95])
def test_a_cut_deflated_file_is_refused(deflated, part):
    start, content = data_set_start(deflated), deflated.read_bytes()
    deflated.write_bytes(content[: start + int((len(content) - start) * part)])
    with pytest.raises(UnsupportedSeries, match="deflated data set"):
        read_series([deflated])


def test_a_bomb_is_not_inflated(deflated):
    start, content = data_set_start(deflated), deflated.read_bytes()
    bomb = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(40)) + bomb.flush()
    deflated.write_bytes(content[:start] + zeros)
    with pytest.raises(BrokenStream, match="more than 8 MB"):
        require_bounded_file(deflated, most=8 << 20)
