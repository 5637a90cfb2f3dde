"""The walk finds the pixels where a parser finds them, or leaves them to the parser."""

from io import BytesIO

import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.decoding.element_walk import find_pixels
from dicom_node.decoding.file_bounds import _parsed_pixels

TAG = b"\xe0\x7f\x10\x00"


@pytest.fixture(params=[ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def content(request, ct_series):
    """A file in either of the two transfer syntaxes that are walked."""
    (instance,) = ct_series(slices=1)
    instance.PatientComments = "X" * 12
    instance.file_meta.TransferSyntaxUID = request.param
    stream = BytesIO()
    implicit = request.param == ImplicitVRLittleEndian
    instance.save_as(stream, enforce_file_format=True, implicit_vr=implicit, little_endian=True)
    return stream.getvalue()


def test_the_pixels_of_an_ordinary_file_are_found_without_a_parser(content):
    found = find_pixels(content)
    assert found == _parsed_pixels(content)
    assert (found.at, found.has_rows) == (content.rindex(TAG), True)


def test_their_tag_within_a_value_is_passed(content):
    hidden = content.replace(b"X" * 12, TAG + b"OW\0\0\4\0\0\0")
    assert find_pixels(hidden) == find_pixels(content)


@pytest.mark.parametrize(
    "damaged",
    [
        lambda content: content[132:],
        lambda content: content[: content.rindex(TAG) + 4],
        lambda content: content.replace(b"1.2.840.10008.1.2", b"1.2.840.10008.9.9"),
        lambda content: content.replace(b"\x28\0\x10\0", b"\x08\0\x10\0"),
        lambda content: content.replace(b"\x10\0\0\x40", b"\x02\0\x10\0"),
    ],
    ids=["no preamble", "cut", "another syntax", "out of order", "meta again"],
)
def test_anything_unusual_is_left_to_the_parser(content, damaged):
    assert damaged(content) != content
    assert find_pixels(damaged(content)) is None


def test_every_changed_byte_is_read_as_the_parser_reads_it(content):
    start = content.index(b"\x08\0\x16\0")
    for at in range(start, content.rindex(TAG) + 8, 3):
        changed = content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :]
        found = find_pixels(changed)
        assert found in (None, _parsed_pixels(changed)), at
