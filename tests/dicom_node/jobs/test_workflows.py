"""The way of one result: sent, confirmed, and what happens when either does not come about."""

from pathlib import Path

import pytest

from dicom_node.jobs.dbos_runtime import run_jobs, submit
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.polling import PollingRate
from dicom_node.jobs.state import State
from tests.dicom_node.node_process import wait_until

KEPT = {"refused": "", "by": "storage commitment"}
SILENT = {"refused": "no report", "lost": False}
LOST = {"refused": "no such object", "lost": True}
SENT = {"refused": "", "seconds": 0.1}
AWAY = {"refused": "away", "seconds": 0.0}


class Scripted:
    """A worker that answers as it is told, and notes what it was asked."""

    def __init__(self, sends, confirms, pauses=5):
        self.answers = {"send": iter(sends), "confirm": iter(confirms)}
        self.asked = []
        self.pause_count = pauses

    def segment(self, job, series_uid, paths, *, urgent):
        outcome = {"verdict": "segmented", "seg": "/seg.dcm"}
        return {"outcome": outcome, "deliveries": [["archive", "seg", "/seg.dcm"]]}

    def deliver(self, series_uid, peer, seg):
        return self.answer("send")

    def confirm(self, series_uid, peer, seg):
        return self.answer("confirm")

    def answer(self, step):
        self.asked.append(step)
        return next(self.answers[step])

    def pauses(self):
        return iter([0.01] * self.pause_count)


@pytest.fixture
def delivered(tmp_path):
    """Run one job with a scripted worker to its end; give back its delivery."""
    url = f"sqlite:///{tmp_path / 'jobs.sqlite'}"

    def run(worker):
        with (
            run_jobs(
                worker, database_url=url, executor="test", peers=["archive"], pace=PollingRate()
            ),
            open_ledger(url) as ledger,
        ):
            submit("job", "1.1", "1.2", [Path("/a.dcm")])
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
