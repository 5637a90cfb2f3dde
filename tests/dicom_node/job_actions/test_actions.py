"""Actions of a person on jobs in every state, and on those of another node in the same store."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dicom_node.data_folder import DataFolder
from dicom_node.job_actions import actions
from dicom_node.jobs.state import Delivery, Job, State
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.results.objects import ObjectKind, Profile

PROFILES = {
    "archive": Profile(),
    "other": Profile((ObjectKind.SEG, ObjectKind.REPORT)),
}
WHY = "the series came again, changed or more of it: superseded by job 99"


class Recorder:
    """A ledger that records what it is asked for."""

    def __init__(self):
        self.sent, self.redone, self.retried = [], [], []

    def send(self, job, tasks):
        self.sent += [(task.peer, task.item) for task in tasks]
        return [task.peer for task in tasks]

    def redo(self, job):
        self.redone.append(job.id)
        return not job.state.active

    def retry(self, job, peer):
        self.retried.append(job.id)
        return ["deliver"]


@pytest.fixture
def ledger():
    return Recorder()


@pytest.fixture
def data(tmp_path):
    folder = DataFolder(tmp_path)
    with folder.claimed():
        return folder


@pytest.fixture
def job(data):
    """A job of this node that is done and whose files are there."""
    received, seg = data.spool / "a.dcm", data.result("job")
    report = seg.with_suffix(".report.dcm")
    for file in (received, seg, report):
        file.write_bytes(b"")
    outcome = Outcome(Verdict.SEGMENTED, seg=seg, seg_uid="1.3", files={"report": report})
    delivery = Delivery("d", "archive", "q", "seg", State.DONE, "", 1, 1.0, "C-FIND")
    at = datetime(2026, 1, 2, tzinfo=UTC)
    on = f"segment on {data.name}"
    files = (received,)
    return Job("job", "1.1", "1.2", files, on, False, at, at, State.DONE, "", outcome, (delivery,))


@pytest.mark.parametrize("state", [State.DONE, State.FAILED, State.DELIVERING])
def test_results_are_sent_again_and_to_further_peers(job, ledger, data, state):
    said = actions.send(replace(job, state=state), PROFILES, ledger, data)
    assert said == "send to archive, other, other"
    assert ledger.sent == [("archive", "seg"), ("other", "seg"), ("other", "report")]


@pytest.mark.parametrize("state", [State.WAITING, State.SEGMENTING, State.REFUSED])
def test_what_has_no_result_is_not_sent(job, ledger, data, state):
    unmade = replace(job, state=state, outcome=None)
    assert actions.send(unmade, PROFILES, ledger, data) == f"nothing to send, it is {state}"
    assert ledger.sent == []


def test_what_is_no_longer_kept_is_named_with_what_makes_it_again(job, ledger, data):
    job.outcome.files["report"].unlink()
    said = actions.send(job, PROFILES, ledger, data)
    assert "not kept: report; `hepar jobs redo job` makes it again" in said
    assert ("other", "report") not in ledger.sent
    job.paths[0].unlink()
    assert "1 received files were removed; send the series again" in actions.redo(job, ledger, data)
    assert ledger.redone == []


def test_a_superseded_job_is_neither_sent_nor_done_again_and_names_the_newer(job, ledger, data):
    """Its results may be under the name of another patient, whom a correction took away."""
    old = replace(job, state=State.SUPERSEDED, reason=WHY)
    assert actions.send(old, PROFILES, ledger, data) == f"not sent: {WHY}"
    assert actions.redo(old, ledger, data) == f"not done again: {WHY}"
    assert actions.retry(old, ledger, now=True) == []
    assert (ledger.sent, ledger.redone, ledger.retried) == ([], [], [])


def test_a_job_of_another_node_is_worked_on_there(job, ledger, data):
    """Its files lie there: that they are not here says nothing."""
    absent = Path("/elsewhere/job.dcm")
    outcome = replace(job.outcome, seg=absent, files={})
    other = replace(job, queue="urgent on b", paths=(absent,), outcome=outcome)
    said = actions.send(other, {"archive": Profile()}, ledger, data)
    assert said == "send to archive by node b"
    assert actions.redo(other, ledger, data) == "segment again"
    assert (ledger.sent, ledger.redone) == ([("archive", "seg")], ["job"])


def test_the_files_of_a_job_at_a_gateway_are_sent_and_removed_there(job, ledger, data, monkeypatch):
    relative = replace(job.outcome, seg=Path("results") / "job.dcm")
    job = replace(job, holder="receive-1", queue="segment on the cluster", outcome=relative)
    sent = []
    monkeypatch.setattr(ledger, "send", lambda job, tasks: sent.extend(tasks) or ["archive"])
    assert actions.send(job, PROFILES, ledger, data) == "send to archive by node the cluster"
    assert {each.holder for each in sent} == {"receive-1"}
    monkeypatch.setattr(actions, "discard", lambda *arguments: None)
    assert "gateway receive-1 keeps its files" in actions.remove(job, ledger, None, data)
