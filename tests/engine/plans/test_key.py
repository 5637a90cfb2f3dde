import pytest
from pydantic import ValidationError

from engine.plans.key import Flavour, Options, Precision, differences
from tests.engine.plans.factories import make_key

CHANGES = {
    "architecture": ("sm86", "built for a GPU of sm86, this one is sm89"),
    "flavour": (Flavour.TENSORRT, "built by tensorrt, installed is tensorrt_rtx"),
    "version": ("1.6.1.120", "built by tensorrt_rtx 1.6.1.120, installed is 1.7.1.116"),
    "precision": (Precision.FLOAT16, "built in float16, requested is float32"),
    "model": ("b" * 64, "built for model bbbbbbbbbbbb, in use is aaaaaaaaaaaa"),
    "options": (Options(batch=4), "built with other options: batch 4 != 2"),
}


def test_the_name_says_what_a_plan_belongs_to():
    name = make_key().name
    assert name.startswith("sm89-tensorrt_rtx-1.7.1.116-float32-aaaaaaaaaaaa-")


@pytest.mark.parametrize("field", CHANGES)
def test_whatever_changes_the_name_changes_and_the_reason_is_told(field):
    value, why = CHANGES[field]
    built = make_key(**{field: value})
    assert built.name != make_key().name
    assert differences(built, make_key()) == [why]


def test_a_plan_of_the_same_key_is_not_stale():
    assert differences(make_key(), make_key()) == []


@pytest.mark.parametrize(
    "wrong", [{"architecture": "../sm89"}, {"version": "a/b"}, {"model": "short"}, {"level": 3}]
)
def test_what_would_make_no_file_name_is_refused(wrong):
    with pytest.raises(ValidationError):
        make_key(**wrong)


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(ValidationError, match="usual 512 exceeds largest 256"):
        Options(largest=256)
