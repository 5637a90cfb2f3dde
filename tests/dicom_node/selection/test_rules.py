"""Rules that no series could ever meet are refused, with what would do."""

import pytest
from pydantic import ValidationError

from dicom_node.selection.rules import DESCRIBED, PriorityRules, Rules


def test_the_bounds_of_a_range_may_be_equal_or_missing():
    Rules()
    Rules(min_slices=5, max_slices=5, min_thickness_mm=2, max_thickness_mm=2)
    Rules(min_thickness_mm=3)
    Rules(max_thickness_mm=3)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"min_slices": 6, "max_slices": 5},
            "no series has at least 6 and at most 5; let min_slices be no more than max_slices",
        ),
        (
            {"min_thickness_mm": 2.5, "max_thickness_mm": 2},
            "no series has at least 2.5 and at most 2; let min_thickness_mm be no more than"
            " max_thickness_mm",
        ),
    ],
)
def test_a_range_that_is_empty_is_refused(keys, message):
    with pytest.raises(ValidationError) as refused:
        Rules(**keys)
    assert f"Value error, {message} [" in str(refused.value)


@pytest.mark.parametrize(
    ("section", "key"), [(Rules, "include"), (Rules, "exclude"), (PriorityRules, "include")]
)
def test_patterns_look_at_descriptions_only_and_must_be_regular_expressions(section, key):
    patterns = dict.fromkeys(DESCRIBED, "(?i)liver|abdomen")
    assert getattr(section(**{key: patterns}), key) == patterns
    with pytest.raises(ValidationError) as refused:
        section(**{key: {"PatientName": "Doe"}})
    allowed = "SeriesDescription, StudyDescription, ProtocolName, BodyPartExamined"
    assert f"Value error, unknown attribute 'PatientName'; allowed: {allowed} [" in str(
        refused.value
    )
    with pytest.raises(ValidationError) as refused:
        section(**{key: {"StudyDescription": "(liver"}})
    told = "Value error, '(liver' for StudyDescription is no regular expression: missing )"
    assert told in str(refused.value)
    assert "correct the pattern [" in str(refused.value)
