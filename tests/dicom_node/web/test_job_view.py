"""What the page shows of jobs, without a running node."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from dicom_node.jobs.state import Delivery, State
from dicom_node.jobs.workflows import DELIVERIES_AT_ONCE
from dicom_node.web.job_view import Filter, peer_rows

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def delivery(state, *, peer="archive", name="d", reason="", finished=None):
    return Delivery(name, peer, "q", "seg", state, reason, 1, 0.0, "", finished)


def job(*deliveries, **named):
    return SimpleNamespace(deliveries=deliveries, **named)


def test_a_peer_has_its_last_success_and_the_first_of_its_next_attempts():
    early, late = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
    due = {"slow": NOW + timedelta(minutes=9), "soon": NOW + timedelta(minutes=1), "running": None}
    jobs = [
        job(delivery(State.DONE, finished=late), delivery(State.DELIVERING, name="slow")),
        job(delivery(State.DONE, finished=early), delivery(State.DELIVERING, name="running")),
        job(delivery(State.FAILED, reason="refused", finished=NOW), delivery(State.WAITING)),
        job(delivery(State.DELIVERING, name="soon"), delivery(State.DELIVERING, peer="other")),
    ]
    archive, idle = peer_rows(["idle", "archive"], jobs, lambda each: due[each.id])
    assert (archive.last_success, archive.next_attempt) == (late, due["soon"])
    assert (archive.done, archive.waiting, archive.failed, archive.reason) == (2, 4, 1, "refused")
    assert (idle.last_success, idle.next_attempt, idle.done) == (None, None, 0)


def test_no_more_deliveries_are_asked_for_than_can_be_at_work():
    """Each look reads the store, and the page is drawn anew every two seconds."""
    asked = []
    many = [job(*[delivery(State.DELIVERING)] * 3, delivery(State.WAITING))] * 20
    peer_rows(["archive"], many, asked.append)
    assert len(asked) == DELIVERIES_AT_ONCE


def test_jobs_are_chosen_by_whether_a_review_is_asked_for():
    named = {"id": "1", "study_uid": "", "series_uid": "", "reason": "", "state": State.DONE}
    named["modality"] = "CT"
    odd, plain = job(review=("liver reaches the first slice",), **named), job(review=(), **named)
    chosen = {review: Filter(review=review).chosen([odd, plain]) for review in ("", "yes", "no")}
    assert chosen == {"": [odd, plain], "yes": [odd], "no": [plain]}


def test_jobs_are_chosen_by_their_modality():
    named = {"id": "1", "study_uid": "", "series_uid": "", "reason": "", "state": State.DONE}
    ct, unknown = (job(review=(), modality=each, **named) for each in ("CT", ""))
    chosen = {each: Filter(modality=each).chosen([ct, unknown]) for each in ("", "CT", "PT")}
    assert chosen == {"": [ct, unknown], "CT": [ct], "PT": []}


def test_further_words_of_a_job_are_searched_where_they_are_given():
    named = {"id": "1", "study_uid": "", "series_uid": "", "reason": "", "state": State.DONE}
    one = job(review=(), modality="CT", **named)
    assert Filter(text="a-77").chosen([one]) == []
    assert Filter(text="a-77").chosen([one], lambda job: "A-7711") == [one]
