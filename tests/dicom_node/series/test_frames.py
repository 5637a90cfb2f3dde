"""Enhanced CT: the same patient in one instance of many frames."""

import random

import numpy as np
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.uid import JPEG2000Lossless, RLELossless

from dicom_node.errors import UnsupportedSeries
from dicom_node.series.kinds import SeriesKind
from dicom_node.series.stacks import find_stacks
from dicom_node.series.volume import to_volume, volume_frames


def test_frames_give_the_volume_that_instances_give(ct_series, enhanced_ct):
    slices = ct_series()
    classic = to_volume(slices)
    whole = to_volume([enhanced_ct(random.Random(0).sample(slices, len(slices)))])
    np.testing.assert_array_equal(whole.hu, classic.hu)
    assert whole.geometry.matches(classic.geometry)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_frames_too(ct_series, enhanced_ct, syntax):
    slices = ct_series(rows=32, columns=32)
    whole = enhanced_ct(slices)
    whole.compress(syntax, generate_instance_uid=False)
    np.testing.assert_array_equal(to_volume([whole]).hu, to_volume(slices).hu)


def test_each_plane_knows_its_frame(ct_series, enhanced_ct):
    frames = volume_frames([enhanced_ct(ct_series()[::-1])])
    assert [frame.number for frame in frames] == [6, 5, 4, 3, 2, 1]


def test_frames_of_two_instances_make_one_stack(ct_series, enhanced_ct):
    slices = ct_series()
    lower, upper = enhanced_ct(slices[:3]), enhanced_ct(slices[3:])
    upper.SeriesInstanceUID = lower.SeriesInstanceUID
    assert to_volume([upper, lower]).hu[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_each_frame_has_its_own_rescaling(ct_series, enhanced_ct):
    whole = enhanced_ct(ct_series())
    groups = whole.PerFrameFunctionalGroupsSequence[2]
    groups.PixelValueTransformationSequence[0].RescaleIntercept = -924
    assert to_volume([whole]).hu[:, 0, 0].tolist() == [0, 1, 102, 3, 4, 5]


def test_a_frame_left_out_is_a_gap(ct_series, enhanced_ct):
    slices = ct_series()
    del slices[2]
    assert find_stacks([enhanced_ct(slices)]).found.kind is SeriesKind.GAPS


def test_two_times_at_one_place_are_several_stacks(ct_series, enhanced_ct):
    slices = ct_series()
    whole = enhanced_ct([*slices, *slices])
    for index, groups in enumerate(whole.PerFrameFunctionalGroupsSequence):
        groups.FrameContentSequence = [type(groups)()]
        groups.FrameContentSequence[0].TemporalPositionIndex = 1 + index // 6
    found = find_stacks([whole])
    assert found.found.kind is SeriesKind.SEVERAL_STACKS
    assert [stack.key for stack in found.stacks] == [
        "temporalpositionindex-1",
        "temporalpositionindex-2",
    ]
    assert {stack.found.kind for stack in found.stacks} == {SeriesKind.REGULAR}


@pytest.mark.parametrize(
    ("sequence", "keyword"),
    [
        ("PlanePositionSequence", "ImagePositionPatient"),
        ("PixelValueTransformationSequence", "RescaleSlope"),
    ],
)
def test_a_missing_functional_group_is_named(ct_series, enhanced_ct, sequence, keyword):
    whole = enhanced_ct(ct_series())
    delattr(whole.PerFrameFunctionalGroupsSequence[3], sequence)
    with pytest.raises(UnsupportedSeries, match=f"{keyword} is missing .* frame 4"):
        to_volume([whole])


def test_frames_without_functional_groups_are_refused(ct_series, enhanced_ct):
    whole = enhanced_ct(ct_series())
    del whole.PerFrameFunctionalGroupsSequence
    assert find_stacks([whole]).found.kind is SeriesKind.INCOMPLETE


def test_derived_frames_are_refused(ct_series, enhanced_ct):
    whole = enhanced_ct(ct_series())
    groups = whole.SharedFunctionalGroupsSequence[0]
    groups.CTImageFrameTypeSequence[0].FrameType = ["DERIVED", "PRIMARY", "VOLUME", "MPR"]
    assert find_stacks([whole]).found.kind is SeriesKind.REFORMATTED


def test_cut_frames_are_refused(ct_series, enhanced_ct):
    whole = enhanced_ct(ct_series())
    whole.PixelData = whole.PixelData[:-640]
    with pytest.raises(UnsupportedSeries, match="has 3200 bytes, 3840 are needed"):
        to_volume([whole])


def test_a_group_of_the_frame_goes_before_the_shared_one(ct_series, enhanced_ct):
    whole = enhanced_ct(ct_series())
    shared = whole.SharedFunctionalGroupsSequence[0]
    shared.PixelValueTransformationSequence = [type(whole)()]
    shared.PixelValueTransformationSequence[0].RescaleIntercept = 500
    shared.PixelValueTransformationSequence[0].RescaleSlope = 2
    assert to_volume([whole]).hu[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_dimension_that_is_no_place_tells_stacks_apart(ct_series, enhanced_ct):
    slices = ct_series()
    whole = enhanced_ct([*slices, *slices])
    pointers = ["TemporalPositionIndex", "InStackPositionNumber"]
    whole.DimensionIndexSequence = [type(whole)() for _ in pointers]
    for item, pointer in zip(whole.DimensionIndexSequence, pointers, strict=True):
        item.DimensionIndexPointer = tag_for_keyword(pointer)
    for index, groups in enumerate(whole.PerFrameFunctionalGroupsSequence):
        groups.FrameContentSequence = [type(groups)()]
        values = [1 + index // 6, 1 + index % 6]
        groups.FrameContentSequence[0].DimensionIndexValues = values
    found = find_stacks([whole])
    assert [stack.label for stack in found.stacks] == [
        "TemporalPositionIndex 1",
        "TemporalPositionIndex 2",
    ]
