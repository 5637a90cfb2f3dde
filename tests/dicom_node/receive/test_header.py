import contextlib
import random
import zlib
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_node.errors import RejectedInstance, StoreStatus
from dicom_node.receive.header import (
    InstanceIdentifiers,
    SeriesKey,
    read_header,
    without_file_meta,
)


def encoded(instance, syntax=ExplicitVRLittleEndian):
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = (
        syntax.is_implicit_VR,
        syntax.is_little_endian,
    )
    instance["PixelData"].VR = "OW"
    write_dataset(stream, instance)
    if not syntax.is_deflated:
        return stream.getvalue()
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(stream.getvalue()) + deflate.flush()


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_the_header_says_whose_the_instance_is(ct_series, syntax):
    (instance,) = ct_series(slices=1)
    assert read_header(encoded(instance, syntax), syntax) == InstanceIdentifiers(
        instance.SOPClassUID,
        instance.SOPInstanceUID,
        SeriesKey(instance.StudyInstanceUID, instance.SeriesInstanceUID),
    )


def test_bytes_that_end_after_the_header_still_have_one(ct_series):
    (instance,) = ct_series(slices=1)
    data_set = encoded(instance)
    assert read_header(data_set[:-100], ExplicitVRLittleEndian).instance_uid


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
@pytest.mark.parametrize("value", ["", "../../etc", None])
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_an_instance_without_its_uids_is_refused(ct_series, keyword, value):
    (instance,) = ct_series(slices=1)
    setattr(instance, keyword, value)
    with pytest.raises(RejectedInstance, match="not a UID") as refusal:
        read_header(encoded(instance), ExplicitVRLittleEndian)
    assert refusal.value.status == StoreStatus.CANNOT_UNDERSTAND


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_garbage_is_refused_and_never_raises_anything_else(ct_series, syntax):
    chance = random.Random(0)
    whole = encoded(ct_series(slices=1)[0], syntax)
    for _ in range(300):
        garbage = bytearray(whole[: chance.randrange(len(whole))] or b"\0")
        for _ in range(20):
            garbage[chance.randrange(len(garbage))] = chance.randrange(256)
        with contextlib.suppress(RejectedInstance):
            read_header(bytes(garbage), syntax)


@pytest.mark.filterwarnings("ignore:Expected explicit VR")
def test_a_deflate_bomb_is_not_inflated(monkeypatch):
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = deflate.compress(bytes(8 << 20)) + deflate.flush()
    assert len(bomb) < 10000
    sizes = []
    monkeypatch.setattr(
        "dicom_node.receive.header.LimitedReads",
        lambda data: (sizes.append(len(data)), BytesIO(data))[1],
    )
    with pytest.raises(RejectedInstance):
        read_header(bomb, DeflatedExplicitVRLittleEndian)
    assert sizes[0] <= 1 << 20


def test_real_series_have_headers(shared_data):
    path = next((shared_data / "ct" / "chaos3" / "dicom").iterdir())
    instance = dcmread(path)
    syntax = instance.file_meta.TransferSyntaxUID
    content = path.read_bytes()
    meta_length = 128 + 4 + 12 + instance.file_meta.FileMetaInformationGroupLength
    header = read_header(content[meta_length:], syntax)
    assert header.series.series_uid == instance.SeriesInstanceUID


def elements(data_set, syntax=ExplicitVRLittleEndian):
    """The encoded elements of a data set, each on its own."""
    instance = read_dataset(BytesIO(data_set), syntax.is_implicit_VR, syntax.is_little_endian)
    parts = []
    for element in instance:
        one = Dataset()
        one.add(element)
        stream = DicomBytesIO()
        stream.is_implicit_VR, stream.is_little_endian = False, True
        write_dataset(stream, one)
        parts.append(stream.getvalue())
    return parts


def test_megabytes_of_private_data_may_come_first(ct_series):
    (instance,) = ct_series(slices=1)
    for element in range(0x1001, 0x1005):
        instance.add_new(0x00090000 + element, "OB", bytes(3 << 20))
    header = read_header(encoded(instance), ExplicitVRLittleEndian)
    assert header.series.series_uid == instance.SeriesInstanceUID


@pytest.mark.parametrize("vr", [b"??", b"  ", b"\0\0", b"un"])
def test_private_elements_of_unknown_vr_hide_no_uid(ct_series, vr):
    (instance,) = ct_series(slices=1)
    plain = encoded(instance)
    at = plain.index(b"\x10\0\x10\0PN")
    data_set = plain[:at] + b"\x09\0\x01\x10" + vr + b"\x04\0ab12" + plain[at:]
    assert read_header(data_set, ExplicitVRLittleEndian) == read_header(
        plain, ExplicitVRLittleEndian
    )


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_elements_may_come_in_any_order(ct_series, seed):
    (instance,) = ct_series(slices=1)
    parts = elements(encoded(instance))
    if seed is None:
        parts.reverse()  # pixels first
    else:
        random.Random(seed).shuffle(parts)
    header = read_header(b"".join(parts), ExplicitVRLittleEndian)
    assert header == read_header(encoded(instance), ExplicitVRLittleEndian)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_leading_zeros_and_spaces_are_taken(ct_series):
    (instance,) = ct_series(slices=1)
    instance.SeriesInstanceUID, instance.StudyInstanceUID = "1.2.007.04", "1.2.3 "
    header = read_header(encoded(instance), ExplicitVRLittleEndian)
    assert header.series == SeriesKey("1.2.3", "1.2.007.04")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_file_meta_information_is_taken_out_of_a_data_set(ct_series, syntax):
    (instance,) = ct_series(slices=1)
    data_set = encoded(instance, syntax)
    meta = Dataset()
    meta.add_new(0x00020002, "UI", instance.SOPClassUID)
    meta.add_new(0x00020010, "UI", "1.2.840.10008.1.2.4.90")
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = syntax.is_implicit_VR, True
    write_dataset(stream, meta)
    assert without_file_meta(stream.getvalue() + data_set, syntax) == data_set
    assert without_file_meta(data_set, syntax) == data_set


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_refusal_does_not_quote_what_stands_for_a_uid(ct_series):
    (instance,) = ct_series(slices=1)
    instance.SeriesInstanceUID = "Musterfrau^Erika" * 1000
    with pytest.raises(RejectedInstance) as refusal:
        read_header(encoded(instance, ImplicitVRLittleEndian), ImplicitVRLittleEndian)
    assert "Erika" not in str(refusal.value)
    assert len(str(refusal.value)) < 100


def test_nesting_without_end_is_refused():
    nested = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 20_000
    with pytest.raises(RejectedInstance) as refusal:
        read_header(nested, ExplicitVRLittleEndian)
    assert refusal.value.status == StoreStatus.CANNOT_UNDERSTAND


@pytest.mark.timeout(300)
def test_items_without_number_are_not_read():
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * (1 << 20)
    sequence = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + items
    with pytest.raises(RejectedInstance, match="too many sequence items") as refusal:
        read_header(sequence, ExplicitVRLittleEndian)
    assert refusal.value.status == StoreStatus.CANNOT_UNDERSTAND


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_a_sequence_that_breaks_off_is_refused(ct_series, syntax):
    (instance,) = ct_series(slices=1)
    instance.ReferencedImageSequence = [Dataset()] * 3
    instance["ReferencedImageSequence"].is_undefined_length = True
    data_set = encoded(instance, syntax)
    at = data_set.index(b"\xfe\xff\x00\xe0")
    for end in range(at, at + 24):
        with pytest.raises(RejectedInstance) as refusal:
            read_header(data_set[:end], syntax)
        assert refusal.value.status == StoreStatus.CANNOT_UNDERSTAND


def test_a_thousand_referenced_images_are_read(ct_series):
    (instance,) = ct_series(slices=1)
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2"
    instance.ReferencedImageSequence = [item] * 1000
    instance["ReferencedImageSequence"].is_undefined_length = True
    assert read_header(encoded(instance), ExplicitVRLittleEndian).instance_uid
