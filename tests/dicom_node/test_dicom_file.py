from io import BufferedReader

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from dicom_node import dicom_file
from dicom_node.dicom_file import read_file, with_known_vrs

PLACES = {0x0009: "PatientName", 0x0029: "PixelData", 0x0008: "PatientName"}
"""Group of an element of unknown VR, and the first attribute behind it."""
TAGS = {"PatientName": b"\x10\0\x10\0PN", "PixelData": b"\xe0\x7f\x10\0OW"}


@pytest.fixture
def file_with(ct_series, tmp_path):
    """Write one instance with an element of some VR in a group, as some vendors do."""
    (instance,) = ct_series(slices=1)
    instance["PixelData"].VR = "OW"
    path = tmp_path / "one.dcm"
    instance.save_as(path, enforce_file_format=True)

    def written(group, vr):
        content = path.read_bytes()
        at = content.index(TAGS[PLACES[group]])
        element = group.to_bytes(2, "little") + b"\xf1\x10" + vr + b"\x04\0ab12"
        path.write_bytes(content[:at] + element + content[at:])
        return path, instance

    return written


@pytest.mark.parametrize("group", PLACES)
@pytest.mark.parametrize("vr", [b"??", b"  ", b"\0\0", b"un"])
def test_an_element_of_unknown_vr_hides_nothing_behind_it(file_with, group, vr):
    path, instance = file_with(group, vr)
    assert read_file(path).PixelData == instance.PixelData
    assert read_file(path, stop_before_pixels=True).Rows == instance.Rows
    assert read_file(path, specific_tags=["PixelData"]).PixelData == instance.PixelData


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_file_without_vrs_is_read_as_it_is(ct_series, tmp_path, syntax):
    (instance,) = ct_series(slices=1)
    instance["PixelData"].VR = "OW"
    instance.file_meta.TransferSyntaxUID = syntax
    path = tmp_path / "one.dcm"
    instance.save_as(path, enforce_file_format=True)
    assert read_file(path).PixelData == instance.PixelData
    assert with_known_vrs(path.read_bytes()) == path.read_bytes()


@pytest.mark.parametrize("missing", range(1, 5))
@pytest.mark.parametrize("options", [{}, {"specific_tags": ["PixelData"]}])
def test_a_file_cut_within_its_last_delimiter_is_refused(ct_series, tmp_path, missing, options):
    (instance,) = ct_series(slices=1)
    instance.compress(RLELossless, generate_instance_uid=False)
    path = tmp_path / "cut.dcm"
    instance.save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(EOFError, match=f"lacks {missing} bytes"):
        read_file(path, **options)


@pytest.mark.parametrize("vr", [b"??", b"OW"])
def test_a_length_beyond_the_memory_ends_the_reading_only_where_it_is_true(
    file_with, monkeypatch, vr
):
    path, instance = file_with(0x0009, vr)
    read = dicom_file.dcmread

    def in_little_memory(source, **options):
        buffered = isinstance(source, BufferedReader)
        if buffered:
            raise MemoryError
        return read(source, **options)

    monkeypatch.setattr(dicom_file, "dcmread", in_little_memory)
    if vr == b"??":
        assert read_file(path).PixelData == instance.PixelData
    else:
        with pytest.raises(EOFError, match="more bytes than the memory holds"):
            read_file(path)
