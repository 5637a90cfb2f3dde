"""The record of a series that holds one stack, and of one that holds several."""

from pathlib import Path

from dicom_node.pipeline.outcome import Outcome, Verdict, combine

EARLY = Outcome(Verdict.NOTHING_FOUND, "no liver", stack="a-1", label="AcquisitionNumber 1")
LATE = Outcome(
    Verdict.SEGMENTED,
    stack="a-2",
    label="AcquisitionNumber 2",
    seg=Path("/r/job.stack-a-2.dcm"),
    millilitres={"liver": 1500.0},
    review=("liver reaches the first slice",),
)


def test_one_stack_is_its_own_series():
    assert combine([LATE]) == LATE
    assert LATE.each == (LATE,)
    assert combine([LATE], ["one file passed over"]).notes == ("one file passed over",)


def test_a_series_of_several_stacks_ends_as_the_best_of_them():
    whole = combine([EARLY, LATE])
    assert (whole.verdict, whole.seg) == (Verdict.SEGMENTED, LATE.seg)
    assert (whole.stack, whole.each) == ("", (EARLY, LATE))
    assert whole.reason == "AcquisitionNumber 1: nothing found: no liver"
    assert whole.review == LATE.review


def test_an_outcome_survives_the_store_and_old_records_are_read():
    whole = combine([EARLY, LATE], ["note"])
    assert Outcome.from_json(whole.to_json()) == whole
    assert Outcome.from_json({"verdict": "segmented", "seg": "/seg.dcm"}).each[0].stack == ""
