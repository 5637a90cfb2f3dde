"""The way of one result: sent, confirmed, and what happens when either does not come about."""

from pathlib import Path

import pytest

from dicom_node.deliver.attempts import ConfirmAnswer, Missing, SendAnswer
from dicom_node.errors import PeerRefused
from dicom_node.jobs.dbos_runtime import run_jobs, submit
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.polling import PollingRate
from dicom_node.jobs.state import State
from tests.dicom_node.node_process import wait_until

KEPT = ConfirmAnswer(by="storage commitment").to_json()
SILENT = ConfirmAnswer(refused="no report").to_json()
LOST = ConfirmAnswer(refused="no such object", missing=Missing.DENIED).to_json()
SENT = SendAnswer(seconds=0.1).to_json()
AWAY = SendAnswer(refused="away").to_json()


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


class WithReport(Scripted):
    """The same, of a series whose archive gets a report beside the SEG."""

    def segment(self, job, series_uid, paths, *, urgent):
        made = super().segment(job, series_uid, paths, urgent=urgent)
        report = ["archive", "report", "/seg.report.dcm"]
        return {**made, "deliveries": [*made["deliveries"], report]}

    def deliver(self, series_uid, peer, file):
        self.asked.append(file.name)
        return super().deliver(series_uid, peer, file)


@pytest.fixture
def both(tmp_path):
    """Run one job with a report to its end; give back its deliveries by item."""
    url = f"sqlite:///{tmp_path / 'jobs.sqlite'}"

    def run(worker):
        with (
            run_jobs(
                worker, database_url=url, executor="test", peers=["archive"], pace=PollingRate()
            ),
            open_ledger(url) as ledger,
        ):
            submit("job", "1.1", "1.2", [Path("/a.dcm")])
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
