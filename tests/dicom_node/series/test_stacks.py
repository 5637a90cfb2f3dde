"""Every class of the geometry contract, made from one regular series."""

import math
import random

import highdicom as hd
import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import MRImageStorage

from dicom_node.series.kinds import Handling, SeriesKind
from dicom_node.series.stacks import find_stacks
from dicom_node.tolerances import TOLERANCE_MM


def classify(instances):
    """The kind of the whole series."""
    return find_stacks(instances).found


def shift(instance, x=0.0, y=0.0, z=0.0):
    position = map(float, instance.ImagePositionPatient)
    instance.ImagePositionPatient = [a + b for a, b in zip(position, (x, y, z), strict=True)]


def turn(instances, degrees):
    """Turn the whole stack about the patient's left-right axis."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    for instance in instances:
        instance.ImagePositionPatient = list(matrix @ instance.ImagePositionPatient)
        instance.ImageOrientationPatient = [*(matrix @ [1, 0, 0]), *(matrix @ [0, 1, 0])]


def test_even_slices_are_a_regular_stack(ct_series):
    found = classify(ct_series())
    assert (found.kind, found.kind.answer) == (SeriesKind.REGULAR, Handling.SEGMENT)
    assert found.residual_mm == pytest.approx(0, abs=1e-9)
    assert found.detail == "6 slices 2.000 mm apart"


def test_order_changes_nothing(ct_series):
    instances = ct_series(slices=9)
    del instances[4]
    shuffled = random.Random(0).sample(instances, len(instances))
    assert classify(shuffled) == classify(instances)


def test_highdicom_agrees_on_what_is_regular(ct_series):
    instances = ct_series()
    random.Random(1).shuffle(instances)
    spacing, _ = hd.spatial.get_series_volume_positions(instances)
    assert classify(instances).kind is SeriesKind.REGULAR
    assert spacing == pytest.approx(2.0)


def test_rounded_positions_are_still_regular_and_the_residual_is_told(ct_series):
    instances = ct_series(slices=40, spacing_mm=(0.625, 0.5, 0.5))
    for instance in instances:
        x, y, z = instance.ImagePositionPatient
        instance.ImagePositionPatient = [x, y, round(float(z), 1)]
    found = classify(instances)
    assert found.kind is SeriesKind.REGULAR
    assert 0.01 < found.residual_mm <= TOLERANCE_MM


def test_a_missing_slice_is_a_gap(ct_series):
    instances = ct_series()
    del instances[3]
    found = classify(instances)
    assert found.kind is SeriesKind.GAPS
    assert found.residual_mm == pytest.approx(1.0)  # third of 0, 2, 4, 8, 10, not 5
    assert "1 of 4 steps between slices differ from the usual 2.000 mm" in found.detail
    assert "to 4.000 mm" in found.detail


def test_slices_that_drift_apart_are_uneven_and_segmented_on_their_own_places(ct_series):
    instances = ct_series()
    for index, instance in enumerate(instances):
        shift(instance, z=0.05 * index**2)
    found = classify(instances)
    assert (found.kind, found.kind.answer) == (SeriesKind.UNEVEN, Handling.SEGMENT_NATIVE)


def test_two_slices_at_one_place_are_duplicates(ct_series):
    instances = ct_series()
    shift(instances[3], z=-2.0)
    found = classify(instances)
    assert found.kind is SeriesKind.DUPLICATE_POSITIONS
    assert found.residual_mm > TOLERANCE_MM
    assert instances[2].SOPInstanceUID in found.detail


def test_an_instance_twice_in_memory_is_a_duplicate(ct_series):
    """Files that hold one instance twice are told apart from this when they are read."""
    instances = ct_series()
    assert classify([*instances, instances[2]]).kind is SeriesKind.DUPLICATE_POSITIONS


def test_two_slices_of_one_name_are_refused(ct_series):
    instances = ct_series()
    instances[2].SOPInstanceUID = instances[0].SOPInstanceUID
    found = classify(instances)
    assert found.kind is SeriesKind.INCOMPLETE
    assert "share the SOPInstanceUID" in found.detail


def test_two_phases_at_the_same_places_are_several_stacks(ct_series):
    early, late = ct_series(), ct_series()
    for instance in late:
        instance.AcquisitionNumber = 2
        instance.SeriesInstanceUID = early[0].SeriesInstanceUID
        instance.StudyInstanceUID = early[0].StudyInstanceUID
        instance.FrameOfReferenceUID = early[0].FrameOfReferenceUID
    found = find_stacks([*early, *late])
    assert found.found.kind is SeriesKind.SEVERAL_STACKS
    assert [stack.label for stack in found.stacks] == ["AcquisitionNumber 1", "AcquisitionNumber 2"]
    assert [stack.instances for stack in found.stacks] == [early, late]
    assert {stack.found.kind for stack in found.stacks} == {SeriesKind.REGULAR}


def test_overlapping_ranges_are_several_stacks(ct_series):
    instances = ct_series(slices=8)
    for instance in instances[4:]:
        instance.AcquisitionNumber = 2
        shift(instance, z=-3.3)
    assert classify(instances).kind is SeriesKind.SEVERAL_STACKS


def test_slices_beside_one_another_are_several_stacks(ct_series):
    instances = ct_series()
    for instance in instances[3:]:
        shift(instance, x=40)
    found = classify(instances)
    assert found.kind is SeriesKind.SEVERAL_STACKS
    assert "40.000 mm beside the first" in found.detail


@pytest.mark.parametrize("odd", [0, 5])
def test_a_slice_oriented_unlike_the_others_is_named_and_the_others_are_a_stack(ct_series, odd):
    instances = ct_series()
    instances[odd].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    found = find_stacks(instances)
    assert found.found.kind is SeriesKind.SEVERAL_STACKS
    kinds = {len(stack.frames): stack.found for stack in found.stacks}
    assert kinds[5].kind is SeriesKind.REGULAR
    assert kinds[1].kind is SeriesKind.SINGLE_SLICE
    assert instances[odd].SOPInstanceUID in kinds[1].detail


@pytest.mark.parametrize("turned", [[1], [1, 2], [0, 2], [0, 1, 2]])
def test_slices_of_several_orientations_are_refused_in_any_order(ct_series, turned):
    cosines = [0, 1, 0, -1, 0, 0], [1, 0, 0, 0, -1, 0], [-1, 0, 0, 0, 1, 0]
    instances = ct_series(slices=4)[: len(turned) + 1]
    for index, instance in enumerate(instances):
        if index in turned:
            instance.ImageOrientationPatient = cosines[index % 3]
    labels = [
        sorted((stack.label, str(stack.found)) for stack in find_stacks(each).stacks)
        for each in (instances, instances[::-1])
    ]
    assert labels[0] == labels[1]
    assert all(stack.handling() is Handling.REFUSE for stack in find_stacks(instances).stacks)


@pytest.mark.parametrize("degrees", [-20, -1, 1, 14, 25])
def test_slices_pushed_sideways_in_proportion_are_a_tilted_gantry(ct_series, degrees):
    instances = ct_series()
    for index, instance in enumerate(instances):
        shift(instance, y=2 * index * math.tan(math.radians(degrees)))
    found = classify(instances)
    assert (found.kind, found.kind.answer) == (
        SeriesKind.TILTED_GANTRY,
        Handling.SEGMENT_NATIVE,
    )
    assert found.residual_mm == pytest.approx(10 * math.tan(math.radians(abs(degrees))))
    assert f"{abs(degrees):.2f} degrees" in found.detail


def test_a_tilt_with_a_gap_is_a_gap(ct_series):
    instances = ct_series(slices=8)
    for index, instance in enumerate(instances):
        shift(instance, y=0.5 * index)
    assert classify(instances).kind is SeriesKind.TILTED_GANTRY
    del instances[3]
    found = classify(instances)
    assert (found.kind, found.missing) == (SeriesKind.GAPS, 1)


def test_a_tilt_that_is_only_mentioned_is_none(ct_series):
    instances = ct_series()
    for instance in instances:
        instance.GantryDetectorTilt = 12
    assert classify(instances).kind is SeriesKind.REGULAR


@pytest.mark.parametrize("degrees", [-25, 5, 29])
def test_a_turned_stack_is_oblique_and_segmented_on_its_own_slices(ct_series, degrees):
    instances = ct_series()
    turn(instances, degrees)
    found = classify(instances)
    assert (found.kind, found.kind.answer) == (SeriesKind.OBLIQUE, Handling.SEGMENT_NATIVE)
    assert f"{abs(degrees):.1f} degrees" in found.detail


@pytest.mark.parametrize("degrees", [-90, 31, 45, 90])
def test_a_stack_turned_further_is_reformatted(ct_series, degrees):
    instances = ct_series()
    turn(instances, degrees)
    assert classify(instances).kind is SeriesKind.REFORMATTED


def test_one_slice_is_no_volume(ct_series):
    assert classify(ct_series(slices=1)).kind is SeriesKind.SINGLE_SLICE


def test_nothing_is_no_ct():
    assert classify([]).kind is SeriesKind.NOT_CT


def with_all(instances, **attributes):
    for instance in instances:
        for keyword, value in attributes.items():
            setattr(instance, keyword, value)
    return instances


@pytest.mark.parametrize(
    ("attributes", "kind", "detail"),
    [
        ({"Modality": "MR"}, SeriesKind.NOT_CT, "Modality is MR"),
        ({"SOPClassUID": MRImageStorage}, SeriesKind.NOT_CT, "SOPClassUID is MR Image Storage"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, SeriesKind.LOCALIZER, "projection"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, SeriesKind.REFORMATTED, "MPR"),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}, SeriesKind.DERIVED, r"DERIVED\SECOND"),
        ({"PhotometricInterpretation": "RGB"}, SeriesKind.DERIVED, "colours (RGB)"),
        ({"RescaleType": "US"}, SeriesKind.DERIVED, "RescaleType is US"),
        ({"SOPInstanceUID": ""}, SeriesKind.INCOMPLETE, "SOPInstanceUID is blank in 6 of 6"),
        ({"StudyInstanceUID": None}, SeriesKind.INCOMPLETE, "StudyInstanceUID is blank"),
        ({"ImagePositionPatient": None}, SeriesKind.INCOMPLETE, "ImagePositionPatient is missing"),
        ({"PixelSpacing": [0, 0]}, SeriesKind.INCOMPLETE, "PixelSpacing is not positive"),
        ({"RescaleSlope": 0}, SeriesKind.INCOMPLETE, "RescaleSlope is 0"),
        ({"NumberOfFrames": 2}, SeriesKind.INCOMPLETE, "NumberOfFrames is 2"),
        (
            {"ImageOrientationPatient": [1, 0, 0, 0.5, 1, 0]},
            SeriesKind.INCOMPLETE,
            "not two unit vectors at a right angle",
        ),
        (
            {"FrameOfReferenceUID": ""},
            SeriesKind.NO_FRAME_OF_REFERENCE,
            "FrameOfReferenceUID is blank in 6 slices",
        ),
    ],
)
def test_a_header_that_rules_a_series_out_is_named(ct_series, attributes, kind, detail):
    found = classify(with_all(ct_series(), **attributes))
    assert (found.kind, found.kind.answer) == (kind, Handling.REFUSE)
    assert detail in found.detail
    assert found.kind.remedy in str(found)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_missing_rescale_tags_are_not_guessed(ct_series, keyword):
    instances = ct_series()
    delattr(instances[4], keyword)
    found = classify(instances)
    assert found.kind is SeriesKind.INCOMPLETE
    assert f"{keyword} is missing" in found.detail
    assert instances[4].SOPInstanceUID in found.detail


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("FrameOfReferenceUID", "2.25.1"),
        ("SeriesInstanceUID", "2.25.2"),
        ("PatientID", "SOMEONE-ELSE"),
    ],
)
def test_slices_that_do_not_belong_together_are_mixed(ct_series, keyword, value):
    instances = ct_series()
    setattr(instances[2], keyword, value)
    found = classify(instances)
    assert found.kind is SeriesKind.MIXED
    assert "SOMEONE-ELSE" not in str(found)


@pytest.mark.parametrize(("keyword", "value"), [("Rows", 8), ("PixelSpacing", [0.5, 0.8])])
def test_slices_of_another_size_are_no_part_of_the_stack(ct_series, keyword, value):
    instances = ct_series()
    setattr(instances[5], keyword, value)
    found = find_stacks(instances)
    assert sorted(len(stack.frames) for stack in found.stacks) == [1, 5]
    assert "matrix" in found.found.detail
    setattr(instances[2], keyword, value)
    assert classify(instances).kind is SeriesKind.SEVERAL_STACKS


def test_a_localizer_among_the_slices_is_passed_over_by_name(ct_series):
    instances = ct_series()
    instances[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    found = find_stacks(instances)
    assert (found.found.kind, found.stacks[0].key) == (SeriesKind.REGULAR, "")
    assert found.notes == ("1 of 6 instances passed over: localizer: projection image",)


def test_lossy_compression_alone_does_not_make_a_series_derived(ct_series):
    lossy = {"ImageType": ["DERIVED", "PRIMARY", "AXIAL"], "LossyImageCompression": "01"}
    assert classify(with_all(ct_series(), **lossy)).kind is SeriesKind.REGULAR


@pytest.mark.parametrize("kind", [kind for kind in SeriesKind if kind.answer is Handling.REFUSE])
def test_every_refusal_says_what_would_do(kind):
    assert kind.remedy


@pytest.mark.parametrize(
    ("folder", "kind", "residual_mm"),
    [
        ("ct/chaos3/dicom", SeriesKind.REGULAR, 0),
        ("ct/lits0", SeriesKind.REGULAR, 0),
        ("ct/totalseg20/dicom", SeriesKind.INCOMPLETE, 0),
        ("ct/dcmqi3", SeriesKind.REGULAR, 0),
        ("odd/coronal_reformat", SeriesKind.REFORMATTED, 0),
        ("odd/duplicate_positions", SeriesKind.DUPLICATE_POSITIONS, 65.5),
        ("odd/enhanced_ct", SeriesKind.DERIVED, 0),
        ("odd/gantry_tilt", SeriesKind.TILTED_GANTRY, 3.629),
        ("odd/localizer", SeriesKind.LOCALIZER, 0),
        ("odd/missing_slice", SeriesKind.GAPS, 3.333),
        ("odd/same_position", SeriesKind.DUPLICATE_POSITIONS, 0),
    ],
)
def test_real_series_are_what_they_are(real_series, folder, kind, residual_mm):
    instances = real_series(folder)
    for instance in instances:  # some were published without
        instance.FrameOfReferenceUID = instance.get("FrameOfReferenceUID") or "2.25.1"
    found = classify(instances)
    assert found.kind is kind
    assert found.residual_mm == pytest.approx(residual_mm, abs=1e-3)


@pytest.mark.parametrize(("difference", "stacks"), [(1.8e-4, 1), (2.2e-4, 2)])
def test_cosines_of_one_stack_may_differ_by_what_a_seg_may_lie_off(ct_series, difference, stacks):
    instances = ct_series()
    instances[5].ImageOrientationPatient = [1, difference, 0, -difference, 1, 0]
    assert len(find_stacks(instances).stacks) == stacks


@pytest.mark.parametrize(("difference", "stacks"), [(0.8e-4, 1), (1.5e-4, 2)])
@pytest.mark.parametrize("spacing", [0.7, 0.7265, 0.73449])
def test_pixel_spacings_of_one_stack_may_differ_by_rounding_only(
    ct_series, spacing, difference, stacks
):
    instances = with_all(ct_series(), PixelSpacing=[spacing, spacing])
    instances[5].PixelSpacing = [spacing, spacing + difference]
    assert len(find_stacks(instances).stacks) == stacks


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_part_of_fewer_than_three_slices_is_no_result_of_its_own(ct_series, count):
    instances, more = ct_series(slices=8), ct_series(slices=8)[:count]
    for instance in more:
        instance.KVP = 80
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            setattr(instance, keyword, instances[0][keyword].value)
    small = next(s for s in find_stacks([*instances, *more]).stacks if len(s.frames) == count)
    assert (small.handling() is Handling.REFUSE) == (count < 3)


def test_a_lossy_reformat_is_still_a_reformat(ct_series):
    lossy = {"ImageType": ["DERIVED", "PRIMARY", "MPR"], "LossyImageCompression": "01"}
    assert classify(with_all(ct_series(), **lossy)).kind is SeriesKind.REFORMATTED


@pytest.mark.parametrize(
    ("bits", "fault"),
    [
        ({"BitsAllocated": 12}, "BitsAllocated is 12"),
        ({"BitsStored": 17}, "BitsStored is 17, with BitsAllocated 16"),
        ({"BitsStored": 12, "HighBit": 15}, "BitsStored is 12 and HighBit 15, not 11"),
        ({"PixelRepresentation": 2}, "PixelRepresentation is 2"),
    ],
)
def test_bits_that_contradict_one_another_are_refused_with_their_values(ct_series, bits, fault):
    found = classify(with_all(ct_series(), **bits))
    assert found.kind is SeriesKind.INCOMPLETE
    assert fault in found.detail


@pytest.mark.parametrize(("written", "shown"), [(b"0,7\\0,7 ", "0,7\\\\0,7"), (b"Doe\\Jane", None)])
def test_a_malformed_number_is_shown_unless_it_may_be_a_name(ct_series, written, shown):
    instances = ct_series()
    tag = Tag(0x0028, 0x0030)
    instances[2][tag] = RawDataElement(tag, "DS", len(written), written, 0, False, True)
    detail = classify(instances).detail
    assert "PixelSpacing is missing or not 2 number(s)" in detail
    assert (shown in detail) if shown else ("Doe" not in detail)
