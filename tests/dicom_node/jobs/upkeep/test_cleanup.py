"""Rounds of the clean-up."""

import os
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dicom_node.audit.audit_event import Action, Study
from dicom_node.data_folder import DataFolder
from dicom_node.errors import UnknownJob
from dicom_node.jobs.state import Job, State
from dicom_node.jobs.upkeep import cleanup
from dicom_node.jobs.upkeep.cleanup import Holding, cleaning_up, discard, sweep
from dicom_node.jobs.upkeep.retention import Retention
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.spool import Spool
from tests.waiting import GENEROUS_S

NOTHING_KEPT = Retention(timedelta(), timedelta(), timedelta(), timedelta())


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "trouble",
    [OSError(5, "Input/output error"), UnknownJob("the store is gone"), KeyError("Doe^Jane")],
)
def test_a_round_that_fails_is_not_the_last(tmp_path, monkeypatch, caplog, trouble):
    rounds, twice = [], threading.Event()

    def fail(url):
        rounds.append(url)
        if len(rounds) == 2:
            twice.set()
        raise trouble

    monkeypatch.setattr(cleanup, "INTERVAL_S", 0.01)
    monkeypatch.setattr(cleanup, "open_ledger", fail)
    with cleaning_up("", Spool(tmp_path / "spool"), DataFolder(tmp_path), NOTHING_KEPT):
        assert twice.wait(GENEROUS_S)
    assert "clean-up failed, will be tried again: " in caplog.text
    assert "Doe" not in caplog.text


DAY = timedelta(days=1)
KEPT = Retention(finished=DAY, failed=3 * DAY, rows=10 * DAY, delivered=20 * DAY)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class Jobs:
    """A ledger of jobs that can be forgotten."""

    def __init__(self, *jobs):
        self.listed = list(jobs)

    def jobs(self):
        return list(self.listed)

    def forget(self, job):
        self.listed = [each for each in self.listed if each.id != job.id]


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


def received(spool, series):
    path = spool.put(SeriesKey("1.1", series), f"{series}.1", b"instance")
    os.utime(path, (LONG_AGO.timestamp(),) * 2)
    return path


def ended(path, state):
    job = Job(
        id=path.parent.name,
        study_uid="1.1",
        series_uid=path.parent.name,
        paths=(path,),
        queue="segment",
        urgent=False,
        created=LONG_AGO,
        finished=LONG_AGO,
        state=state,
        reason="",
        outcome=None,
        deliveries=(),
    )
    return replace(job)


def test_everything_leaves_after_its_time_and_nothing_before(spool, tmp_path):
    data = DataFolder(tmp_path)
    data.delivered.mkdir()
    result = data.delivered / "1.dcm"
    result.touch()
    os.utime(result, (LONG_AGO.timestamp(),) * 2)
    done, refused, jobless = (received(spool, series) for series in ("1.2", "1.3", "1.4"))
    ledger = Jobs(ended(done, State.DONE), ended(refused, State.REFUSED))

    def after(days):
        for _ in range(2):  # files first, and the row in a later round
            sweep(ledger, spool, data, KEPT, LONG_AGO + days * DAY)
        there = [path.exists() for path in (done, refused, jobless, result)]
        return there, len(ledger.listed)

    assert after(0.9) == ([True, True, True, True], 2)
    assert after(1.1) == ([False, True, True, True], 2)
    assert after(3.1) == ([False, False, False, True], 2)
    assert after(9.9) == ([False, False, False, True], 2)
    assert after(10.1) == ([False, False, False, True], 0)
    assert after(20.1) == ([False, False, False, False], 0)
    assert spool.series() == []


def test_what_a_person_removes_is_recorded_as_what_the_clean_up_does(spool, tmp_path, monkeypatch):
    recorded = []
    monkeypatch.setattr(cleanup, "record", lambda event: recorded.append(event()))
    monkeypatch.setattr(cleanup, "study_of", lambda uid, paths: Study(uid, {"CT": len(paths)}))
    job = ended(received(spool, "1.2"), State.REFUSED)
    discard(job, Jobs(job), spool, DataFolder(tmp_path))
    (event,) = recorded
    assert (event.action, event.objects) == (Action.DELETE, (Study("1.1", {"CT": 1}),))
    assert not job.paths[0].exists()


def test_what_other_runs_of_a_job_left_goes_once_it_has_a_result(spool, tmp_path):
    data = DataFolder(tmp_path)
    folders = {name: data.run(*name) for name in [("a", 1), ("a", 2), ("b", 3), ("gone", 4)]}
    for folder in folders.values():
        folder.mkdir(parents=True)
        (folder / "seg.dcm").write_bytes(b"seg")
        os.utime(folder, (LONG_AGO.timestamp(),) * 2)
    data.run("a", 5).mkdir()  # new: its run may be about to end
    made = Outcome(Verdict.SEGMENTED, seg=folders["a", 2] / "seg.dcm")
    jobs = [
        replace(ended(received(spool, "1.2"), State.DONE), id=name, outcome=outcome)
        for name, outcome in {"a": made, "b": None}.items()
    ]
    sweep(Jobs(*jobs), spool, data, KEPT, LONG_AGO + timedelta(hours=2))
    left = {path.name for path in data.results.iterdir()}
    assert left == {"a.epoch-2", "a.epoch-5", "b.epoch-3"}


def test_the_results_of_every_run_go_with_the_job(spool, tmp_path):
    data = DataFolder(tmp_path)
    job = replace(ended(received(spool, "1.2"), State.DONE), id="a")
    for epoch in (1, 2):
        data.run("a", epoch).mkdir(parents=True)
        (data.run("a", epoch) / "a.dcm").write_bytes(b"seg")
        (data.run("a", epoch) / "a.labels.npz").write_bytes(b"labels")
    ledger = Jobs(job)
    sweep(ledger, spool, data, KEPT, LONG_AGO + 2 * DAY)
    assert data.results_of("a") == []
    assert len(data.kept_labels_of("a")) == 2
    sweep(ledger, spool, data, KEPT, LONG_AGO + 30 * DAY)
    assert list(data.results.iterdir()) == []
    assert ledger.listed == []


def test_a_gateway_removes_its_copies_of_all_jobs_and_asks_for_its_own_to_be_forgotten(
    spool, tmp_path
):
    data, asked = DataFolder(tmp_path), []
    data.results.mkdir()
    mine, others = (received(spool, series) for series in ("1.2", "1.3"))
    jobs = [
        # As the store has them: relative to the folder of whichever gateway.
        replace(ended(path, State.DONE), paths=(path.relative_to(tmp_path),), holder=holder)
        for path, holder in ((mine, "me"), (others, "another"))
    ]
    ledger = Jobs(*jobs)
    for days in (1.1, 10.1):
        assert asked == []
        sweep(ledger, spool, data, KEPT, LONG_AGO + days * DAY, Holding("me", asked.append))
        assert spool.series() == []
    assert [job.holder for job in asked] == ["me"]
    assert len(ledger.listed) == 2  # it removes no row itself


def test_results_of_a_job_that_was_removed_elsewhere_leave_in_the_end(spool, tmp_path):
    data = DataFolder(tmp_path)
    data.results.mkdir()
    known = replace(ended(received(spool, "1.2"), State.DELIVERING), id="known")
    names = "known.dcm", "gone.dcm", "gone.report.dcm"
    for name in names:
        (data.results / name).touch()
        os.utime(data.results / name, (LONG_AGO.timestamp(),) * 2)

    def after(days):
        sweep(Jobs(known), spool, data, KEPT, LONG_AGO + days * DAY, Holding("me", [].append))
        return sorted(path.name for path in data.results.iterdir())

    assert after(2.9) == sorted(names)
    assert after(3.1) == ["known.dcm"]
