"""Retention of what jobs leave behind: received files, results, rows of the store."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dicom_node.jobs.state import Job


@dataclass(frozen=True)
class Retention:
    """Times for which things are kept after the end of a job."""

    finished: timedelta
    """Files and results of series that are done, made no result or were superseded."""
    failed: timedelta
    """Files of series that were refused or failed, and files that no job has."""
    rows: timedelta
    """Jobs in the list, once their files are gone."""
    delivered: timedelta
    """Results in the embedded destination, the folder `delivered`."""


def expired(jobs: Iterable[Job], retention: Retention, now: datetime) -> list[Job]:
    """Return the jobs whose files may be removed.

    Jobs of one series share its files, so all of them must have ended long enough ago, and their
    files be untouched for as long.
    """
    by_series: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        by_series[job.series_uid].append(job)
    return [
        job
        for of_series in by_series.values()
        if all(_is_over(job, of_series, retention, now) for job in of_series)
        for job in of_series
    ]


def _is_over(job: Job, of_series: Sequence[Job], retention: Retention, now: datetime) -> bool:
    if job.state.active or job.finished is None:
        return False
    # What failed is kept for longer: somebody has to look at it.
    before = now - (retention.finished if job.state.settled else retention.failed)
    return job.finished < before and _untouched(of_series, before)


def _untouched(jobs: Sequence[Job], before: datetime) -> bool:
    """Return whether no file was sent again since; a series sent again starts anew."""
    return all(older(path, before) for job in jobs for path in job.paths)


def older(path: Path, before: datetime) -> bool:
    """Return whether a file was written before a moment; one that is gone was."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) < before
    except FileNotFoundError:
        return True
