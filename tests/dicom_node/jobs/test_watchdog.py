"""No job stays "segmenting" when its end could not be recorded."""

import pytest
from dbos._sys_db import SystemDatabase
from sqlalchemy.exc import OperationalError

from dicom_node.jobs import watchdog
from dicom_node.jobs.dbos_runtime import submit
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.records import SegmentResult
from dicom_node.jobs.state import State
from dicom_node.jobs.workflows import RunningWorkflows
from dicom_node.pipeline.outcome import Outcome, Verdict
from tests.dicom_node.jobs.running import run_worker
from tests.dicom_node.jobs.test_workflows import TASK
from tests.dicom_node.node_process import wait_until


class Counting:
    """A worker that finds nothing, and counts how often it is asked."""

    calls = 0

    def segment(self, job, task, *, urgent, superseded):
        self.calls += 1
        return SegmentResult(Outcome(Verdict.NOTHING_FOUND, "no liver"))


@pytest.fixture
def full_disk(monkeypatch):
    """Let the store fail to record the end of workflows as often as `failures` says."""
    failures = [0]
    record = SystemDatabase.update_workflow_outcome

    def fail(*arguments, **named):
        if failures[0] > 0:
            failures[0] -= 1
            raise OperationalError("UPDATE", {}, Exception("database or disk is full"))
        return record(*arguments, **named)

    monkeypatch.setattr(SystemDatabase, "update_workflow_outcome", fail)
    # Longer than a job takes to record its first step, also on a busy machine.
    monkeypatch.setattr(watchdog, "ROUND_S", 2.0)
    return failures


@pytest.fixture
def running(tmp_path):
    url, worker = f"sqlite:///{tmp_path / 'jobs.sqlite'}", Counting()
    with (
        run_worker(worker, url),
        open_ledger(url) as ledger,
    ):
        yield worker, ledger


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_job_whose_end_could_not_be_recorded_ends_once_it_can(full_disk, running):
    worker, ledger = running
    full_disk[0] = 2
    submit("job", TASK)
    wait_until(lambda: ledger.find("job").state is State.NOTHING_FOUND)
    assert worker.calls == 1  # its step was recorded, so nothing is computed again


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_job_that_never_can_be_recorded_fails_with_the_reason(full_disk, running):
    _, ledger = running
    full_disk[0] = 1000
    submit("job", TASK)
    wait_until(lambda: ledger.find("job").state is State.FAILED)
    assert "could not be recorded" in ledger.find("job").reason
    full_disk[0] = 0
    ledger.retry(ledger.find("job"))
    wait_until(lambda: ledger.find("job").state is State.NOTHING_FOUND)


def test_workflows_are_listed_while_they_run_and_no_longer():
    running = RunningWorkflows()
    with running.noted("a"):
        with running.noted("a"):
            assert "a" in running
        assert "a" in running
        assert "b" not in running
    assert "a" not in running
