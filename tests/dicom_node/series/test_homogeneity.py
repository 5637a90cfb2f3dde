"""Values that alternate or jump split a series; values that progress do not."""

from io import BytesIO

import pytest
from pydicom import dcmread

from dicom_node.series.kinds import SeriesKind
from dicom_node.series.stacks import find_stacks


def labels(instances):
    return [stack.label for stack in find_stacks(instances).stacks]


def given(instances, keyword, values):
    for instance, value in zip(instances, values, strict=True):
        setattr(instance, keyword, value)
    return instances


@pytest.mark.parametrize(
    ("keyword", "first", "second"),
    [
        ("AcquisitionNumber", 1, 2),
        ("AcquisitionTime", "101530", "101630"),
        ("KVP", 80, 140),
        ("ConvolutionKernel", "B30f", "B70f"),
        ("FilterType", "BODY", "HEAD"),
        ("TemporalPositionIdentifier", 1, 2),
        ("ContrastBolusAgent", "", "agent"),
        ("XRayTubeCurrent", 100, 300),
        ("Exposure", 50, 150),
        ("SliceThickness", 2, 4),
        ("IrradiationEventUID", "2.25.1", "2.25.2"),
        ("SeriesDescription", "arterial", "portal"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "AXIAL"], ["ORIGINAL", "PRIMARY", "AXIAL", "VMI"]),
        ("ContentTime", "101530", "101630"),
        ("AcquisitionDate", "20260102", "20260103"),
        ("AcquisitionNumber", 1202401021, 1202401022),
        ("ProtocolName", "liver", "liver late"),
        ("ImageComments", "arterial", "portal"),
        ("TriggerTime", 0, 30000),
        ("ContrastBolusVolume", 0, 80),
        ("SeriesNumber", 3, 4),
    ],
)
def test_values_that_alternate_make_two_stacks(ct_series, keyword, first, second):
    instances = given(ct_series(slices=12), keyword, [first, second] * 6)
    stacks = find_stacks(instances).stacks
    assert [len(stack.frames) for stack in stacks] == [6, 6]
    assert {stack.found.kind for stack in stacks} == {SeriesKind.REGULAR}
    assert all(stack.label.startswith(keyword) for stack in stacks)


@pytest.mark.parametrize(
    ("keyword", "first", "second"),
    [
        ("AcquisitionNumber", 1, 2),
        ("KVP", 100, 120),
        ("ConvolutionKernel", "B30f", "B70f"),
        ("ContrastBolusAgent", "", "agent"),
        ("XRayTubeCurrent", 100, 300),
        ("TemporalPositionIdentifier", 1, 2),
    ],
)
def test_values_that_jump_make_two_stacks(ct_series, keyword, first, second):
    instances = given(ct_series(slices=12), keyword, [first] * 5 + [second] * 7)
    assert sorted(len(stack.frames) for stack in find_stacks(instances).stacks) == [5, 7]


def test_acquisition_date_time_counts_beside_one_acquisition_time(ct_series):
    instances = given(ct_series(slices=12), "AcquisitionTime", ["101530"] * 12)
    given(instances, "AcquisitionDateTime", ["20260102101530", "20260102101630"] * 6)
    assert labels(instances) == ["AcquisitionDateTime 101530", "AcquisitionDateTime 101630"]


@pytest.mark.parametrize("passes", [2, 3, 4])
@pytest.mark.parametrize("down", [False, True])
def test_slices_counted_in_passes_that_lie_in_one_another_are_stacks(ct_series, passes, down):
    numbers = [1 + i // passes + 10 * (i % passes) for i in range(12)]
    instances = given(ct_series(slices=12), "InstanceNumber", numbers[:: -1 if down else 1])
    stacks = find_stacks(instances).stacks
    assert [len(stack.frames) for stack in stacks] == [12 // passes] * passes
    assert labels(instances) == [f"InstanceNumber {1 + 10 * first}" for first in range(passes)]


@pytest.mark.parametrize(
    "numbers",
    [
        [12, *range(1, 12)],
        sorted(range(1, 25), key=str),  # "1", "10", "11", as a folder lists its files
        [7, 3, 11, 1, 9, 5, 12, 2, 10, 4, 8, 6],
        [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6],
        [1, None] * 6,
        [1, None, 3, 9] * 3,
    ],
)
def test_other_numbers_of_instances_say_nothing(ct_series, numbers):
    instances = given(ct_series(slices=len(numbers)), "InstanceNumber", numbers)
    assert len(find_stacks(instances).stacks) == 1


@pytest.mark.parametrize("keyword", ["TriggerTime", "ContrastBolusVolume", "SeriesNumber"])
def test_values_that_come_back_but_not_in_turn_are_no_stacks(ct_series, keyword):
    instances = given(ct_series(slices=12), keyword, [1, 2, 2, 1, 2, 1, 1, 2, 1, 2, 1, 2])
    assert len(find_stacks(instances).stacks) == 1


def test_a_pause_between_neighbours_is_another_breath(ct_series):
    instances = ct_series(slices=12)
    given(instances, "AcquisitionDate", ["20260102"] * 12)
    given(instances, "AcquisitionTime", [f"1015{second:02d}" for second in range(12)])
    assert len(find_stacks(instances).stacks) == 1
    late = [f"1015{second:02d}" for second in range(6)] + [f"1016{s:02d}" for s in range(6)]
    given(instances, "AcquisitionTime", late)
    assert labels(instances) == ["AcquisitionTime 101500", "AcquisitionTime 101600"]


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("AcquisitionNumber", range(1, 13)),
        ("AcquisitionNumber", [1 + index // 4 for index in range(12)]),
        ("AcquisitionNumber", [9 - index // 4 for index in range(12)]),
        ("XRayTubeCurrent", [400, 380, 350, 300, 260, 240, 220, 210, 230, 270, 320, 370]),
        ("Exposure", [100 + index % 3 for index in range(12)]),
        ("SliceThickness", [2] * 6 + [4] * 6),
        ("SeriesDescription", ["abdomen"] * 6 + ["abdomen, corrected"] * 6),
        ("KVP", [120, "120.0"] * 6),
        ("AcquisitionNumber", [1, None] * 6),
        ("InstanceNumber", [1] * 12),
    ],
)
def test_values_that_progress_or_mean_the_same_make_one_stack(ct_series, keyword, values):
    assert labels(given(ct_series(slices=12), keyword, values)) == [""]


def test_rotations_that_follow_one_another_are_one_scan_whatever_their_numbers(ct_series):
    instances = given(ct_series(slices=12), "AcquisitionNumber", [1] * 5 + [2] * 7)
    given(instances, "AcquisitionTime", [f"1015{second:02d}" for second in range(12)])
    assert labels(instances) == [""]


def test_few_slices_that_differ_are_refused_and_never_stacked_as_one(ct_series):
    instances = given(ct_series(slices=4), "KVP", [80, 140] * 2)
    found = find_stacks(instances).found
    assert found.kind is SeriesKind.SEVERAL_STACKS
    assert "differ in KVP" in found.detail


def test_a_key_is_the_same_in_any_order_and_holds_no_text_of_a_person(ct_series):
    instances = given(ct_series(slices=12), "SeriesDescription", ["Doe Jane", "portal"] * 6)
    keys = [stack.key for stack in find_stacks(instances).stacks]
    assert sorted(keys) == sorted(stack.key for stack in find_stacks(instances[::-1]).stacks)
    assert not any("doe" in word.lower() for word in [*keys, *labels(instances)])


def test_two_passes_that_nothing_tells_apart_are_refused(ct_series):
    lower, upper = ct_series(slices=6), ct_series(slices=6)
    for instance in upper:
        instance.StudyInstanceUID = lower[0].StudyInstanceUID
        instance.SeriesInstanceUID = lower[0].SeriesInstanceUID
        instance.FrameOfReferenceUID = lower[0].FrameOfReferenceUID
        x, y, z = map(float, instance.ImagePositionPatient)
        instance.ImagePositionPatient = [x, y, z + 0.6]
    found = find_stacks([*lower, *upper]).found
    assert found.kind is SeriesKind.SEVERAL_STACKS
    assert "two passes" in found.detail


def read_back(instances):
    """Return the instances as they are read from files, each value in its bytes."""
    return [_read_back(instance) for instance in instances]


def _read_back(instance):
    stream = BytesIO()
    instance.save_as(stream, enforce_file_format=True)
    stream.seek(0)
    return dcmread(stream)


@pytest.mark.parametrize(
    ("keyword", "first", "second"),
    [
        ("AcquisitionNumber", 1, 2),
        ("ConvolutionKernel", "B30f", "B70f"),
        ("ContrastBolusAgent", None, "agent"),
        ("XRayTubeCurrent", 100, 300),
        ("ImageType", ["ORIGINAL", "PRIMARY", "AXIAL"], ["ORIGINAL", "PRIMARY", "AXIAL", "VMI"]),
        ("AcquisitionDate", "20260102", "20260103"),
        ("AcquisitionDateTime", "20260102101530", "20260102101630"),
        ("ContentTime", "101530", "101630"),
        ("TriggerTime", 0, 30000),
    ],
)
def test_values_in_files_are_compared_in_every_slice(ct_series, keyword, first, second):
    instances = given(ct_series(slices=12), keyword, [first, second] * 6)
    stacks = find_stacks(read_back(instances)).stacks
    assert [len(stack.frames) for stack in stacks] == [6, 6]


def test_the_same_bytes_in_other_characters_are_another_text(ct_series):
    instances = given(ct_series(slices=12), "ConvolutionKernel", ["Ä", "Ф"] * 6)
    given(instances, "SpecificCharacterSet", ["ISO_IR 100", "ISO_IR 144"] * 6)
    read = read_back(instances)
    assert {one.get_item("ConvolutionKernel").value for one in read} == {b"\xc4 "}
    assert len(find_stacks(read).stacks) == 2


def test_one_number_written_in_two_ways_is_one(ct_series):
    instances = given(ct_series(slices=12), "KVP", ["120", "120.0"] * 6)
    assert labels(read_back(instances)) == [""]


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("ImagePositionPatient", [1, 2], "ImagePositionPatient is missing or not 3"),
        ("RescaleSlope", 0, "RescaleSlope is 0"),
        ("RescaleSlope", None, "RescaleSlope is missing"),
        ("HighBit", 15, "BitsStored is 12 and HighBit 15"),
        ("NumberOfFrames", 2, "NumberOfFrames is 2"),
    ],
)
def test_a_fault_of_one_file_among_sound_ones_is_found(ct_series, keyword, value, reason):
    instances = ct_series(slices=12)
    given(instances, "BitsStored", [12] * 12)
    given(instances, "HighBit", [11] * 12)
    setattr(instances[7], keyword, value)
    found = find_stacks(read_back(instances)).found
    assert found.detail.startswith(reason)
    assert found.detail.endswith(f"in {instances[7].SOPInstanceUID}")
