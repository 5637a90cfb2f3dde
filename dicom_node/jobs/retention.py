"""Retention of the files of finished jobs."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dicom_node.jobs.state import Job


def expired(jobs: Iterable[Job], keep_for: timedelta, now: datetime) -> list[Job]:
    """Return the jobs whose files may be removed.

    Jobs of one series share its files, so all of them must be settled, and their files untouched,
    for `keep_for`. A failed job keeps them until someone retries or removes it.
    """
    by_series: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        by_series[job.series_uid].append(job)
    before = now - keep_for
    return [
        job
        for of_series in by_series.values()
        if all(_settled(job, before) for job in of_series) and _untouched(of_series, before)
        for job in of_series
    ]


def _settled(job: Job, before: datetime) -> bool:
    return job.state.settled and job.finished is not None and job.finished < before


def _untouched(jobs: Sequence[Job], before: datetime) -> bool:
    """Tell whether no file was sent again since; a series sent again starts anew."""
    return all(_touched(path) < before for job in jobs for path in job.paths if path.exists())


def _touched(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
