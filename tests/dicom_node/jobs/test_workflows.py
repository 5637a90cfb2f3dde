"""The way of one result: sent, confirmed, and what happens when either does not come about."""

from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest
from dbos import DBOS

from dicom_node.deliver.attempts import ConfirmAnswer, Missing, SendAnswer
from dicom_node.errors import PeerRefused
from dicom_node.jobs.dbos_runtime import STEPS_VERSION, submit
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.polling import PollingRate
from dicom_node.jobs.records import DeliveryTask, SegmentResult, SeriesTask
from dicom_node.jobs.state import State
from dicom_node.jobs.workflows import DELIVER, SEGMENT, delivery_queue, urgent_queue
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.results.objects import ObjectKind
from tests.dicom_node.jobs.running import run_worker
from tests.waiting import GENEROUS_S, wait_until

KEPT = ConfirmAnswer(by="storage commitment")
SILENT = ConfirmAnswer(refused="no report")
LOST = ConfirmAnswer(refused="no such object", missing=Missing.DENIED)
SENT = SendAnswer(seconds=0.1)
AWAY = SendAnswer(refused="away")
TASK = SeriesTask("1.1", "1.2", (Path("/a.dcm"),))


class Scripted:
    """A worker with scripted results that records which steps ran."""

    def __init__(self, sends, confirms, pauses=5):
        self.answers = {"send": iter(sends), "confirm": iter(confirms)}
        self.asked = []
        self.pause_count = pauses

    def segment(self, job, task, *, urgent, superseded=()):
        outcome = Outcome(Verdict.SEGMENTED, seg=Path("/seg.dcm"))
        delivery = DeliveryTask(task.series_uid, "archive", "seg", outcome.seg)
        return SegmentResult(outcome, (delivery,))

    def deliver(self, task):
        return self.answer("send")

    def confirm(self, task):
        return self.answer("confirm")

    def answer(self, step):
        self.asked.append(step)
        answer = next(self.answers[step])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pauses(self):
        return iter([0.01] * self.pause_count)


@pytest.fixture
def delivered(tmp_path):
    """Run one job with a scripted worker to its end; give back its delivery."""
    url = f"sqlite:///{tmp_path / 'jobs.sqlite'}"

    def run(worker):
        with (
            run_worker(worker, url, peers=["archive"]),
            open_ledger(url) as ledger,
        ):
            submit("job", TASK)
            wait_until(lambda: ledger.find("job").state in (State.DONE, State.FAILED))
            (delivery,) = ledger.find("job").deliveries
            return delivery, ledger.last_refusal(delivery)

    return run


def test_what_was_sent_and_confirmed_is_done(delivered):
    worker = Scripted([SENT], [KEPT])
    delivery, refusal = delivered(worker)
    assert (delivery.state, delivery.confirmed) == (State.DONE, "storage commitment")
    assert (delivery.attempts, refusal) == (1, "")


def test_a_lost_confirmation_is_asked_for_again_and_nothing_is_sent_again(delivered):
    worker = Scripted([AWAY, SENT], [SILENT, SILENT, KEPT])
    assert delivered(worker)[0].state is State.DONE
    assert worker.asked == ["send", "send", "confirm", "confirm", "confirm"]


def test_what_the_archive_does_not_keep_is_sent_again(delivered):
    worker = Scripted([SENT, SENT], [LOST, KEPT])
    assert delivered(worker)[0].state is State.DONE
    assert worker.asked == ["send", "confirm", "send", "confirm"]


def test_a_delivery_that_is_never_confirmed_fails_with_the_last_reason(delivered):
    worker = Scripted([SENT], [SILENT] * 3, pauses=3)
    delivery, refusal = delivered(worker)
    assert delivery.state is State.FAILED
    assert delivery.reason == "gave up on archive: no report"
    assert refusal == "no report"


class WithReport(Scripted):
    """The same, of a series whose archive gets a report beside the SEG."""

    def segment(self, job, task, *, urgent, superseded=()):
        made = super().segment(job, task, urgent=urgent)
        file = Path("/seg.report.dcm")
        report = DeliveryTask("1.2", "archive", "report", file, ObjectKind.REPORT, after="seg")
        return SegmentResult(made.outcome, (*made.deliveries, report))

    def deliver(self, task):
        self.asked.append(task.file.name)
        return super().deliver(task)


@pytest.fixture
def both(tmp_path):
    """Run one job with a report to its end; give back its deliveries by item."""
    url = f"sqlite:///{tmp_path / 'jobs.sqlite'}"

    def run(worker):
        with (
            run_worker(worker, url, peers=["archive"]),
            open_ledger(url) as ledger,
        ):
            submit("job", TASK)
            wait_until(lambda: not ledger.find("job").state.active)
            return {each.item: each for each in ledger.find("job").deliveries}

    return run


def test_a_report_is_sent_once_the_archive_has_the_seg(both):
    worker = WithReport([AWAY, SENT, SENT], [KEPT, KEPT])
    assert {each.state for each in both(worker).values()} == {State.DONE}
    files = [each for each in worker.asked if each.endswith(".dcm")]
    assert files == ["seg.dcm", "seg.dcm", "seg.report.dcm"]


def test_no_report_goes_to_an_archive_that_refuses_the_seg(both):
    refused = PeerRefused("archive does not accept Segmentation Storage")
    worker = WithReport([refused], [])
    deliveries = both(worker)
    assert "Segmentation Storage" in deliveries["seg"].reason
    assert "the SEG that it refers to was not delivered" in deliveries["report"].reason
    assert "seg.report.dcm" not in worker.asked


def test_each_pause_is_waited_for_before_the_next_attempt(delivered, monkeypatch):
    """A fake clock: the sleeps of the store are recorded among the steps, and do not wait."""
    worker = Scripted([AWAY, AWAY, SENT], [SILENT, KEPT])
    worker.pauses = lambda: iter([5, 10, 20, 40])
    monkeypatch.setattr(
        DBOS, "recv", lambda topic, timeout_seconds: worker.asked.append(timeout_seconds)
    )
    assert delivered(worker)[0].state is State.DONE
    assert worker.asked == ["send", 5, "send", 10, "send", "confirm", 5, "confirm"]


def test_work_that_0_1_queued_is_done(tmp_path):
    url, worker = f"sqlite:///{tmp_path / 'jobs.sqlite'}", Scripted([SENT], [KEPT])
    with (
        run_worker(worker, url, peers=["archive"]),
        open_ledger(url) as ledger,
    ):
        DBOS.enqueue_workflow_with_options(
            {
                "workflow_name": SEGMENT,
                "queue_name": urgent_queue("test"),
                "workflow_id": "old",
                "app_version": STEPS_VERSION,
            },
            "1.1",
            "1.2",
            ["/a.dcm"],
        )
        wait_until(lambda: ledger.find("old").state is State.DONE)
        job = ledger.find("old")
    assert (job.study_uid, job.series_uid, job.paths) == ("1.1", "1.2", (Path("/a.dcm"),))
    assert job.urgent


@pytest.fixture
def store(tmp_path):
    """Open a store with a running worker."""
    url = f"sqlite:///{tmp_path / 'jobs.sqlite'}"

    @contextmanager
    def run(worker):
        peers = ["archive", "other"]
        polling = PollingRate()
        with (
            run_worker(worker, url, peers=peers, polling=polling),
            open_ledger(url) as ledger,
        ):
            yield ledger

    return run


def test_a_process_that_dequeues_no_more_finishes_what_it_has_and_can_go_on(tmp_path):
    url, begun, go = f"sqlite:///{tmp_path / 'jobs.sqlite'}", Event(), Event()

    class Slow(Scripted):
        def segment(self, job, task, **named):
            begun.set()
            assert go.wait(GENEROUS_S)
            return super().segment(job, task, **named)

    worker = Slow([SENT] * 2, [KEPT] * 2)
    with (
        run_worker(worker, url, peers=["archive"]) as dequeuing,
        open_ledger(url) as ledger,
    ):
        submit("job-1", TASK)
        assert begun.wait(GENEROUS_S)
        dequeuing.stop()
        wait_until(lambda: dequeuing.ended)
        submit("job-2", TASK)
        go.set()
        # It queues its delivery, which nobody takes.
        wait_until(lambda: ledger.find("job-1").state is State.DELIVERING)
        assert (ledger.find("job-2").state, worker.asked) == (State.WAITING, [])
        dequeuing.go_on()
        wait_until(lambda: {job.state for job in ledger.jobs()} == {State.DONE})
    assert sorted(worker.asked) == ["confirm"] * 2 + ["send"] * 2


def done(ledger, count=1):
    job = ledger.find("job")
    return job.state is State.DONE and len(job.deliveries) == count


def test_a_delivery_of_0_1_pauses_as_its_stored_steps_did(store, monkeypatch):
    """Another step in the place of a stored one fails the workflow, which is replayed."""
    worker, slept = Scripted([AWAY, SENT], [KEPT]), []
    monkeypatch.setattr(DBOS, "sleep", slept.append)
    with store(worker):
        handle = DBOS.enqueue_workflow_with_options(
            {
                "workflow_name": DELIVER,
                "queue_name": delivery_queue("archive", "test"),
                "workflow_id": "old",
                "app_version": STEPS_VERSION,
            },
            "1.2",
            "archive",
            "old.seg.dcm",
        )
        assert handle.get_result()["attempts"] == 2
    assert slept == [0.01]


def test_a_job_that_is_done_is_done_again_when_a_person_asks(store):
    worker = Scripted([SENT] * 2, [KEPT] * 2)
    with store(worker) as ledger:
        submit("job", TASK)
        wait_until(lambda: done(ledger))
        submit("job", TASK)  # a router that repeats itself
        assert len(worker.asked) == 2
        assert ledger.redo(ledger.find("job"))
        wait_until(lambda: done(ledger) and len(worker.asked) == 4)
    assert worker.asked == ["send", "confirm"] * 2


def test_a_worker_is_told_that_a_person_asked_for_another_result(store):
    asked = []

    class Noting(Scripted):
        def segment(self, job, task, *, urgent, superseded=()):
            asked.append(task.asked)
            return super().segment(job, task, urgent=urgent, superseded=superseded)

    with store(Noting([SENT] * 2, [KEPT] * 2)) as ledger:
        submit("job", TASK)
        wait_until(lambda: done(ledger))
        assert ledger.redo(ledger.find("job"))
        wait_until(lambda: done(ledger) and len(asked) == 2)
    assert asked == [False, True]


def test_results_are_sent_again_and_to_a_further_peer(store):
    worker = Scripted([SENT] * 3, [KEPT] * 3)
    again = DeliveryTask("1.2", "archive", "seg", Path("/seg.dcm"))
    further = DeliveryTask("1.2", "other", "seg", Path("/seg.dcm"))
    with store(worker) as ledger:
        submit("job", TASK)
        wait_until(lambda: done(ledger))
        begun = ledger.send(ledger.find("job"), [again, further])
        assert begun == ["archive", "other (seg)"]
        wait_until(lambda: done(ledger, 2) and len(worker.asked) == 6)
        job = ledger.find("job")
        assert {each.peer for each in job.deliveries} == {"archive", "other"}
        ledger.forget(job)
        assert ledger.jobs() == []


def test_what_failed_is_sent_again(store):
    worker = Scripted([PeerRefused("no"), SENT], [KEPT])
    again = DeliveryTask("1.2", "archive", "seg", Path("/seg.dcm"))
    with store(worker) as ledger:
        submit("job", TASK)
        wait_until(lambda: ledger.find("job").state is State.FAILED)
        assert ledger.send(ledger.find("job"), [again]) == ["archive"]
        wait_until(lambda: done(ledger))
    assert worker.asked == ["send", "send", "confirm"]


@pytest.mark.timeout(300)
def test_a_pause_is_shown_and_ended_when_a_person_asks(store):
    worker = Scripted([AWAY, SENT], [KEPT])
    worker.pauses = lambda: iter([3600.0] * 9)
    with store(worker) as ledger:
        submit("job", TASK)

        def due():
            deliveries = ledger.find("job").deliveries
            return ledger.next_attempt(deliveries[0]) if deliveries else None

        wait_until(lambda: due() is not None)
        left_s = (due() - datetime.now(UTC)).total_seconds()
        assert 3500 < left_s <= 3600
        ledger.hasten(ledger.find("job").deliveries[0])
        wait_until(lambda: done(ledger))
        assert due() is None


def test_only_deliveries_to_one_peer_are_retried(store):
    refused = PeerRefused("no")
    worker = Scripted([refused, refused, SENT], [KEPT])
    other = DeliveryTask("1.2", "other", "seg", Path("/seg.dcm"))
    with store(worker) as ledger:
        submit("job", TASK)
        wait_until(lambda: ledger.find("job").state is State.FAILED)
        ledger.send(ledger.find("job"), [other])
        wait_until(lambda: not ledger.find("job").state.active)
        assert ledger.retry(ledger.find("job"), "other") == ["deliver to other"]
        wait_until(lambda: not ledger.find("job").state.active)
        states = {each.peer: each.state for each in ledger.find("job").deliveries}
    assert states == {"archive": State.FAILED, "other": State.DONE}
