"""The digest of a series changes with what it holds, and with nothing else."""

import tracemalloc
from copy import deepcopy

import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from dicom_node.decoding.stream import BrokenStream
from dicom_node.jobs.content_digest import DEEPEST, content_digest, file_stamp


@pytest.fixture
def series(ct_series, tmp_path):
    """Write the same series, changed by a function, as files; return them."""
    made = ct_series(slices=3)

    def write(change=lambda instances: None, folder="a"):
        instances = deepcopy(made)
        for instance in instances:
            instance.RequestAttributesSequence = [Dataset()]
            instance.RequestAttributesSequence[0].ScheduledProcedureStepID = "7"
        change(instances)
        (tmp_path / folder).mkdir(exist_ok=True)
        paths = [tmp_path / folder / f"{each.SOPInstanceUID}.dcm" for each in instances]
        for path, instance in zip(paths, instances, strict=True):
            dcmwrite(path, instance, enforce_file_format=True)
        return paths

    return write


def each(**attributes):
    def change(instances):
        for instance in instances:
            for keyword, value in attributes.items():
                setattr(instance, keyword, value)

    return change


def one_pixel(instances):
    pixels = bytearray(instances[1].PixelData)
    pixels[100] ^= 1
    instances[1].PixelData = bytes(pixels)


def within_a_sequence(instances):
    instances[0].RequestAttributesSequence[0].ScheduledProcedureStepID = "8"


@pytest.mark.parametrize(
    "change",
    [
        each(PatientName="CORRECTED^NAME"),
        each(PatientID="4711"),
        each(StudyInstanceUID="1.2.3"),
        each(AccessionNumber="A2"),
        each(RescaleIntercept="-1024.5"),
        one_pixel,
        within_a_sequence,
        lambda instances: instances.pop(),
    ],
)
def test_what_a_series_holds_makes_its_digest(series, change):
    assert content_digest(series()) != content_digest(series(change, folder="b"))


def syntax(uid):
    def change(instances):
        for instance in instances:
            instance.file_meta.TransferSyntaxUID = uid
            instance["PixelData"].VR = "OW"

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda instances: None,
        syntax(ExplicitVRLittleEndian),
        syntax(ImplicitVRLittleEndian),
        each(RetrieveAETitle="ELSEWHERE", NumberOfStudyRelatedInstances="300"),
    ],
)
def test_the_way_it_came_does_not(series, change):
    assert content_digest(series()) == content_digest(series(change, folder="b"))


def test_the_sender_s_file_meta_header_does_not(series):
    def sent_by_another(instances):
        for instance in instances:
            instance.file_meta.SendingApplicationEntityTitle = "OTHER"
            instance.file_meta.ImplementationVersionName = "X"

    assert content_digest(series()) == content_digest(series(sent_by_another, folder="b"))


def test_the_order_of_files_does_not(series):
    paths = series()
    assert content_digest(paths) == content_digest(paths[::-1])


@pytest.mark.parametrize("uid", [DeflatedExplicitVRLittleEndian, RLELossless])
def test_compressed_instances_have_a_digest_of_their_own(series, uid):
    def compressed(instances):
        for instance in instances:
            if uid == RLELossless:
                instance.compress(RLELossless)
            else:
                instance.file_meta.TransferSyntaxUID = uid

    paths = series(compressed)
    assert content_digest(paths) == content_digest(paths)
    assert content_digest(paths) != content_digest(series(folder="b"))


def test_a_deflated_instance_is_not_inflated(series):
    inflated = 1 << 26

    def deflated(instances):
        for instance in instances:
            instance.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
            instance.PixelData = bytes(inflated)

    paths = series(deflated)
    tracemalloc.start()
    content_digest(paths)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < inflated / 8


def test_a_header_that_cannot_be_parsed_in_time_is_bytes(series, monkeypatch):
    def refuse(path):
        raise BrokenStream("the header takes more than 30 s")

    monkeypatch.setattr("dicom_node.jobs.content_digest.require_bounded_file", refuse)
    monkeypatch.setattr("dicom_node.jobs.content_digest.dcmread", None)
    changed = series(each(RetrieveAETitle="ELSEWHERE"), folder="b")
    assert content_digest(series()) != content_digest(changed)


def test_a_file_that_cannot_be_read_is_its_bytes(tmp_path):
    path = tmp_path / "1.2.dcm"
    path.write_bytes(b"no DICOM")
    first = content_digest([path])
    path.write_bytes(b"no DICOM either")
    assert content_digest([path]) != first


def test_sequences_without_end_are_bytes(series):
    def nested(instances):
        for _ in range(3 * DEEPEST):
            item = instances[0].RequestAttributesSequence[0]
            outer = Dataset()
            outer.RequestAttributesSequence = [item]
            instances[0].RequestAttributesSequence = [outer]

    assert content_digest(series(nested)) == content_digest(series(nested, folder="b"))


def test_a_stamp_changes_with_each_writing(series):
    paths = series()
    first = file_stamp(paths)
    assert file_stamp(paths) == first
    content = paths[0].read_bytes()
    paths[0].unlink()
    paths[0].write_bytes(content)
    assert file_stamp(paths) != first
    assert dcmread(paths[0])


def test_the_last_pixel_of_a_big_endian_instance_counts(series):
    # 0x00080000 bytes, whose length reads as 2048 in the other order
    def big(last):
        def change(instances):
            for instance in instances:
                instance.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
                instance.PixelData = bytes((512 * 512 * 2) - 1) + last
                instance["PixelData"].VR = "OW"

        return change

    assert content_digest(series(big(b"\0"))) != content_digest(series(big(b"\1"), folder="b"))
