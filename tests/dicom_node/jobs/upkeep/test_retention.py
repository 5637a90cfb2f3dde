import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dicom_node.jobs.state import Job, State
from dicom_node.jobs.upkeep.retention import Retention, expired

NOW = datetime(2026, 1, 2, tzinfo=UTC)
KEEP = timedelta(hours=24)
RETENTION = Retention(KEEP, 7 * KEEP, 90 * KEEP, 90 * KEEP)


@pytest.fixture
def old_job(tmp_path):
    """A job of one file that was done, and the file received, two days ago."""
    path = tmp_path / "1.2.dcm"
    path.touch()
    then = NOW - 2 * KEEP
    os.utime(path, (then.timestamp(), then.timestamp()))
    return Job(
        id="a",
        study_uid="1",
        series_uid="1.1",
        paths=(path,),
        queue="segment",
        urgent=False,
        created=then,
        finished=then,
        state=State.DONE,
        reason="",
        outcome=None,
        deliveries=(),
    )


def test_files_of_an_old_finished_job_may_go(old_job):
    assert expired([old_job], RETENTION, NOW) == [old_job]


def test_files_of_a_job_that_was_just_finished_stay(old_job):
    assert expired([replace(old_job, finished=NOW)], RETENTION, NOW) == []


@pytest.mark.parametrize("state", [State.FAILED, State.DELIVERING, State.WAITING])
def test_files_stay_while_any_job_of_their_series_may_still_need_them(old_job, state):
    other = replace(old_job, id="b", state=state)
    assert expired([old_job, other], RETENTION, NOW) == []


def test_files_that_were_sent_again_stay(old_job):
    os.utime(old_job.paths[0])
    assert expired([old_job], RETENTION, datetime.now(UTC)) == []


def test_another_series_makes_no_difference(old_job):
    other = replace(old_job, id="b", series_uid="1.2", state=State.FAILED)
    assert expired([old_job, other], RETENTION, NOW) == [old_job]


@pytest.mark.parametrize("state", [State.FAILED, State.REFUSED])
def test_files_of_what_failed_are_kept_longer_and_then_may_go(old_job, state):
    failed = replace(old_job, state=state)
    assert expired([failed], RETENTION, NOW) == []
    assert expired([failed], RETENTION, NOW + 6 * KEEP) == [failed]


@pytest.mark.parametrize(
    "state", [State.DONE, State.NOTHING_FOUND, State.NOT_SELECTED, State.SUPERSEDED]
)
def test_files_of_every_other_ending_go_after_the_same_time(old_job, state):
    settled = replace(old_job, state=state)
    assert expired([settled], RETENTION, NOW) == [settled]


@pytest.mark.parametrize("after", [timedelta(0), timedelta(seconds=1)])
def test_files_are_kept_for_the_whole_time_and_no_longer(old_job, after):
    ended = replace(old_job, finished=NOW - KEEP - after)
    assert expired([ended], RETENTION, NOW) == ([ended] if after else [])
    moment = (NOW - KEEP - after).timestamp()
    os.utime(old_job.paths[0], (moment, moment))
    assert expired([old_job], RETENTION, NOW) == ([old_job] if after else [])


def test_a_file_that_is_gone_keeps_no_other(old_job):
    old_job.paths[0].unlink()
    assert expired([old_job], RETENTION, NOW) == [old_job]


def test_a_job_without_an_end_is_not_over_whatever_its_state(old_job):
    assert expired([replace(old_job, finished=None)], RETENTION, NOW) == []
