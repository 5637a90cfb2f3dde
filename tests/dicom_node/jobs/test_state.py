"""The state of a job, read from its workflows."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from dicom_node.jobs.records import DeliveryTask, SegmentResult, SeriesTask
from dicom_node.jobs.state import State, to_job
from dicom_node.jobs.workflows import GIVEN_UP, POSTPONED, QUEUE, RECEIVED_BY, SUPERSEDED_BY
from dicom_node.pipeline.outcome import Outcome, Verdict

SEGMENTED = Outcome(Verdict.SEGMENTED, seg="/seg.dcm")


def workflow(task, status="SUCCESS", *, output=None, completed_at=1000, **attributes):
    return SimpleNamespace(
        workflow_id="job",
        status=status,
        input={"args": [task.to_json()]},
        output=output,
        error=None,
        created_at=0,
        completed_at=completed_at,
        queue_name=None,
        attributes=attributes,
    )


def segment(outcome=SEGMENTED, status="SUCCESS", **named):
    output = SegmentResult(outcome).to_json() if status == "SUCCESS" else None
    return workflow(SeriesTask("1.1", "1.2", ()), status, output=output, **named)


def delivery(status="SUCCESS", **named):
    return workflow(DeliveryTask("1.2", "archive", "seg", "/seg.dcm"), status, **named)


@pytest.mark.parametrize(
    ("made", "deliveries", "state", "ending"),
    [
        (segment(status="ENQUEUED"), [], State.WAITING, ""),
        (segment(status="PENDING"), [], State.SEGMENTING, ""),
        (segment(), [delivery("PENDING")], State.DELIVERING, ""),
        (segment(), [delivery()], State.DONE, "segmented"),
        (segment(), [delivery(), delivery("ERROR")], State.FAILED, "failed"),
        (segment(status="ERROR"), [], State.FAILED, "failed"),
        (segment(Outcome(Verdict.NOTHING_FOUND)), [], State.NOTHING_FOUND, "nothing found"),
        (segment(Outcome(Verdict.NOT_SELECTED)), [], State.NOT_SELECTED, "not selected"),
        (segment(Outcome(Verdict.REFUSED)), [], State.REFUSED, "refused"),
        (segment(**{SUPERSEDED_BY: "other"}), [delivery()], State.SUPERSEDED, ""),
        (segment(status="CANCELLED"), [], State.SUPERSEDED, ""),
        (segment(status="CANCELLED", **{GIVEN_UP: "full"}), [], State.FAILED, "failed"),
        (segment(), [delivery("CANCELLED", **{GIVEN_UP: "full"})], State.FAILED, "failed"),
    ],
)
def test_a_job_is_in_one_state_and_ends_in_one_way(made, deliveries, state, ending):
    job = to_job(made, deliveries)
    assert (job.state, job.ending) == (state, ending)


def test_a_job_is_finished_with_the_last_of_its_deliveries():
    job = to_job(segment(completed_at=1000), [delivery(completed_at=9000)])
    assert job.finished.timestamp() == 9
    assert to_job(segment(), [delivery("PENDING", completed_at=None)]).finished is None


def test_a_cancelled_job_keeps_its_queue():
    assert to_job(segment(**{QUEUE: "segment on n"}), []).queue == "segment on n"


def test_a_delivery_states_when_it_ended():
    job = to_job(segment(), [delivery(), delivery("PENDING", completed_at=None)])
    assert [each.finished for each in job.deliveries] == [datetime.fromtimestamp(1, UTC), None]


def test_a_job_that_waits_for_a_gateway_states_why_until_it_goes_on():
    waiting = to_job(segment(status="ENQUEUED", **{POSTPONED: "g is away"}), [])
    assert (waiting.state, waiting.reason) == (State.WAITING, "g is away")
    assert to_job(segment(status="PENDING", **{POSTPONED: "g is away"}), []).reason == ""


def test_the_holder_of_a_job_is_the_gateway_that_has_its_results_or_else_its_files():
    task = SeriesTask("1.1", "1.2", (), holder="first").to_json()
    made = segment(status="PENDING")
    assert to_job(made, []).holder == ""
    made.input = {"args": [task]}
    assert to_job(made, []).holder == "first"
    made.attributes = {RECEIVED_BY: "second"}
    assert to_job(made, []).holder == "second"
    made.output = SegmentResult(SEGMENTED, holder="third").to_json()
    assert to_job(made, []).holder == "third"
