"""Series with garbage where no voxel depends on it: segmented, and without a word about it."""

import re
import struct
import warnings

import pytest
from pydicom import dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from dicom_node.errors import UnsupportedSeries
from dicom_node.logs import quieten_libraries
from dicom_node.pipeline.outcome import Verdict
from dicom_node.pipeline.process import process
from dicom_node.pipeline.segmenter import SegmentationSetup
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.objects import ObjectKind, ResultObject
from dicom_node.results.phantom import write_series
from dicom_node.selection.rules import Rules
from engine.phantom import make_phantom
from tests.dicom_node.node_process import Thresholds

GARBAGE = b"Musterfrau^Erika"
METHOD = SegmentationSetup(
    Thresholds(),
    Algorithm("toy", "1", "ab" * 32),
    Rules(),
    frozenset(map(ResultObject, ObjectKind)),
)


NUMBERS_OF_NO_VOXEL = ("SeriesNumber", "InstanceNumber", "SliceThickness")


def in_vr(folder, vr, *keywords):
    """Write a series whose files give these attributes another VR, and the same bytes."""
    made = make_phantom(shape=(8, 48, 48), spacing_mm=(25, 8, 8), noise_hu=2)
    paths = write_series(made, "other VR", folder / "series")
    for path in paths:
        content = path.read_bytes()
        for keyword in keywords:
            tag = Tag(tag_for_keyword(keyword))
            start = struct.pack("<HH", tag.group, tag.element)
            written = start + dictionary_VR(tag).encode()
            assert content.count(written) == 1, keyword
            content = content.replace(written, start + vr)
        path.write_bytes(content)
    return paths


@pytest.fixture
def garbled(tmp_path):
    """Write a series with these bytes, raw, as the value of one attribute."""

    def write(keyword, value):
        made = make_phantom(shape=(8, 48, 48), spacing_mm=(25, 8, 8), noise_hu=2)
        paths = write_series(made, keyword, tmp_path / "series")
        tag = Tag(tag_for_keyword(keyword))
        with warnings.catch_warnings(action="ignore"):
            for path in paths:
                instance = dcmread(path)
                vr = dictionary_VR(tag)
                instance[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
                instance.save_as(path)
        return paths

    return write


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        *(
            (keyword, GARBAGE)
            for keyword in (
                "SeriesNumber",
                "InstanceNumber",
                "SliceThickness",
                "StudyDate",
                "StudyTime",
                "PatientBirthDate",
                "PatientSex",
                "PatientAge",
                "PatientWeight",
                "ContentDate",
                "LossyImageCompressionRatio",
                "SpecificCharacterSet",
            )
        ),
        ("SeriesNumber", b"2147483647 "),
        ("SeriesNumber", b"1\\2 "),
        ("PatientName", b"\xff\xfe\\=^===" * 20),
        ("PatientID", b"4711" * 30),
    ],
)
def test_what_no_voxel_depends_on_may_be_garbage(garbled, tmp_path, keyword, value):
    paths = garbled(keyword, value)
    with warnings.catch_warnings():  # any that is left, and so could quote the value, is an error
        quieten_libraries()
        made = process(paths, tmp_path / "seg.dcm", METHOD, series="garbled")
    assert made.verdict is Verdict.SEGMENTED
    assert set(made.files) == {"report", "montage", "rtstruct", "pdf"}


@pytest.mark.parametrize("vr", [b"FD", b"ZZ"])
def test_what_no_voxel_depends_on_may_be_of_any_vr(tmp_path, vr):
    """A value of two bytes is no number of eight, and nobody can read VR ZZ."""
    paths = in_vr(tmp_path, vr, *NUMBERS_OF_NO_VOXEL)
    with warnings.catch_warnings():
        quieten_libraries()
        made = process(paths, tmp_path / "seg.dcm", METHOD, series="garbled")
    assert made.verdict is Verdict.SEGMENTED


@pytest.mark.parametrize("vr", [b"FD", b"ZZ"])
@pytest.mark.parametrize("keyword", ["BitsAllocated", "Rows"])
def test_a_pixel_attribute_of_another_vr_is_refused_by_name(tmp_path, keyword, vr):
    paths = in_vr(tmp_path, vr, keyword)
    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(UnsupportedSeries, match=re.sub(r"(?<=.)(?=[A-Z])", " ?", keyword)),
    ):
        process(paths, tmp_path / "seg.dcm", METHOD, series="garbled")


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("NumberOfFrames", GARBAGE),
        ("NumberOfFrames", b"1.5 "),
        ("BitsAllocated", b"\x10\0\x10\0"),
        ("BitsStored", b"\x0c\0\x0c\0"),
        ("PixelRepresentation", b"\0\0\0\0"),
    ],
)
def test_what_the_pixels_depend_on_is_refused_by_name(garbled, tmp_path, keyword, value):
    paths = garbled(keyword, value)
    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(UnsupportedSeries, match=f"{keyword} is not one whole number"),
    ):
        process(paths, tmp_path / "seg.dcm", METHOD, series="garbled")
