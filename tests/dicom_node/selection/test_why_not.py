import re

import pytest
from pydantic import ValidationError
from pydicom import DataElement, Dataset

from dicom_node.selection.rules import Rules
from dicom_node.selection.why_not import exclusion_reason, why_not_pull


def test_the_default_rules_take_an_ordinary_series(ct_series):
    assert exclusion_reason(ct_series(slices=6), Rules()) is None


def test_an_mr_under_a_ct_class_is_not_selected(ct_series):
    instances = ct_series()
    instances[2].Modality = "MR"
    assert exclusion_reason(instances, Rules()) == "Modality is MR, not CT"


def test_an_absent_modality_is_named_as_such(ct_series):
    instances = ct_series()
    del instances[0].Modality
    assert exclusion_reason(instances, Rules()) == "Modality is absent, not CT"


def test_a_localizer_is_not_selected(ct_series):
    instances = ct_series()
    instances[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    assert exclusion_reason(instances, Rules()) == "ImageType holds LOCALIZER"


@pytest.mark.parametrize("index", [0, 3, 5])
def test_the_image_type_of_every_slice_counts(ct_series, index):
    instances = ct_series()
    instances[index].ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    assert exclusion_reason(instances, Rules(image_types=("AXIAL",))) is not None
    assert exclusion_reason(instances, Rules(refused_image_types=("OTHER",))) is not None


def test_one_of_the_wanted_image_types_is_enough(ct_series):
    assert exclusion_reason(ct_series(), Rules(image_types=("AXIAL", "HELIX"))) is None
    assert (
        exclusion_reason(ct_series(), Rules(image_types=("MPR",))) == "ImageType holds none of MPR"
    )


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (Rules(min_slices=7), "slices: 6, at least 7 required"),
        (Rules(max_slices=5), "slices: 6, at most 5 required"),
        (Rules(min_thickness_mm=2.5), "SliceThickness in mm: 2, at least 2.5 required"),
        (Rules(max_thickness_mm=1.5), "SliceThickness in mm: 2, at most 1.5 required"),
        (Rules(min_slices=6, max_slices=6, min_thickness_mm=2, max_thickness_mm=2), None),
    ],
)
def test_counts_and_thickness_have_limits(ct_series, rules, reason):
    assert exclusion_reason(ct_series(slices=6), rules) == reason


def test_a_rule_on_thickness_needs_a_thickness(ct_series):
    instances = ct_series()
    del instances[0].SliceThickness
    assert exclusion_reason(instances, Rules()) is None
    assert "absent" in exclusion_reason(instances, Rules(max_thickness_mm=5))


def test_an_enhanced_image_counts_its_frames_and_has_its_thickness_inside(ct_series):
    (instance,) = ct_series(slices=1)
    assert exclusion_reason([instance], Rules(min_slices=5)) == "slices: 1, at least 5 required"
    measures, groups = Dataset(), Dataset()
    measures.SliceThickness = 3
    groups.PixelMeasuresSequence = [measures]
    instance.SharedFunctionalGroupsSequence = [groups]
    instance.NumberOfFrames = 40
    assert exclusion_reason([instance], Rules(max_thickness_mm=5)) is None
    assert exclusion_reason([instance], Rules(max_thickness_mm=2)) is not None


def test_descriptions_are_searched_in_any_case(ct_series):
    instances = ct_series()
    assert exclusion_reason(instances, Rules(include={"SeriesDescription": "ABDO"})) is None
    assert exclusion_reason(instances, Rules(exclude={"SeriesDescription": "lung|head"})) is None
    reason = exclusion_reason(instances, Rules(include={"BodyPartExamined": "liver"}))
    assert reason == "BodyPartExamined does not match include 'liver'"
    reason = exclusion_reason(instances, Rules(exclude={"SeriesDescription": "^abdomen$"}))
    assert reason == "SeriesDescription matches exclude '^abdomen$'"


def test_a_reason_never_repeats_what_a_description_says(ct_series):
    instances = ct_series()
    for instance in instances:
        instance.SeriesDescription = "abdomen of Jane Doe"
        instance.ProtocolName = "Doe"
    rules = [
        Rules(include={"SeriesDescription": "thorax"}),
        Rules(exclude={"SeriesDescription": "abdomen"}),
        Rules(include={"ProtocolName": "x"}),
    ]
    for rule in rules:
        assert not re.search(r"\bdoe\b|jane", exclusion_reason(instances, rule), re.IGNORECASE)


def test_numbers_that_are_none_do_not_stop_the_rules(ct_series):
    instances = ct_series()
    instances[0][0x00180050] = DataElement(0x00180050, "LO", "thin")
    assert exclusion_reason(instances, Rules(max_thickness_mm=5)) is not None


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ({"PatientName": "doe"}, "unknown attribute 'PatientName'; allowed: SeriesDescription"),
        ({"SeriesDescription": "("}, "'\\(' for SeriesDescription is no regular expression"),
    ],
)
def test_rules_that_cannot_work_are_refused_at_once(pattern, message):
    with pytest.raises(ValidationError, match=message):
        Rules(include=pattern)
    with pytest.raises(ValidationError, match=message):
        Rules(exclude=pattern)


def test_the_slices_of_a_stack_count_and_not_those_of_its_series(ct_series):
    instances = ct_series(slices=6)
    assert exclusion_reason(instances, Rules(min_slices=3), 2) == "slices: 2, at least 3 required"
    assert exclusion_reason(instances, Rules(max_slices=3), 2) is None


def test_an_archives_answer_is_held_to_the_rules_that_it_can_break(ct_series):
    (answer,) = ct_series(slices=1)
    thorax = {"SeriesDescription": "thorax"}
    assert why_not_pull(answer, Rules(min_slices=99, max_thickness_mm=0.1)) is None
    reason = "SeriesDescription does not match include 'thorax'"
    assert why_not_pull(answer, Rules(include=thorax)) == reason
    reason = "SeriesDescription matches exclude 'abdomen'"
    assert why_not_pull(answer, Rules(exclude={"SeriesDescription": "abdomen"})) == reason
    answer.Modality = "MR"
    assert why_not_pull(answer, Rules()) == "Modality is MR, not CT"


def test_what_an_archive_leaves_out_breaks_no_rule(ct_series):
    (answer,) = ct_series(slices=1)
    answer.SeriesDescription = ""
    everything = {"SeriesDescription": "^$|abdomen"}
    assert why_not_pull(answer, Rules(include={"SeriesDescription": "thorax"})) is None
    assert why_not_pull(answer, Rules(exclude=everything)) is None
