"""Jobs are listed where every condition holds."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from dicom_node.commands.job_views.job_list import JobFilter
from dicom_node.jobs.state import Job, State

NOON = datetime(2026, 1, 31, 12).astimezone()
JOB = Job(
    id="1",
    study_uid="1.2",
    series_uid="1.2.3",
    paths=(),
    queue="segment on node",
    urgent=False,
    created=NOON.astimezone(UTC),
    finished=None,
    state=State.FAILED,
    reason="device failed",
    outcome=None,
    deliveries=(),
)


def test_without_conditions_every_job_is_listed():
    assert JobFilter().matches(JOB)


@pytest.mark.parametrize(
    ("condition", "listed"),
    [
        (JobFilter(state=State.FAILED), True),
        (JobFilter(state=State.DONE), False),
        (JobFilter(peer="archive"), False),
        (JobFilter(since=date(2026, 1, 31)), True),
        (JobFilter(since=date(2026, 2, 1)), False),
        (JobFilter(review=True), False),
        (JobFilter(state=State.FAILED, since=date(2026, 2, 1)), False),
    ],
)
def test_a_job_is_listed_where_it_meets_the_condition(condition, listed):
    assert condition.matches(JOB) is listed


def test_a_day_is_that_of_the_clock_on_the_wall():
    early = replace(JOB, created=(NOON - timedelta(hours=11, minutes=30)).astimezone(UTC))
    assert JobFilter(since=date(2026, 1, 31)).matches(early)
