"""Remove the files of jobs that ended long ago, at intervals while the node runs."""

import logging
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from dicom_node.audit.audit_event import deleted
from dicom_node.audit.instances import study_of
from dicom_node.audit.trail import record
from dicom_node.corrections.register import CorrectionRegister
from dicom_node.data_folder import DataFolder
from dicom_node.error_location import unforeseen
from dicom_node.errors import NodeError, StoreUnusable
from dicom_node.jobs.ledger import Ledger, open_ledger
from dicom_node.jobs.state import Job
from dicom_node.jobs.upkeep.retention import Retention, expired, older
from dicom_node.receive.spool import Spool
from dicom_node.results.attributes.number_register import LastingNumbers, StoredNumbers
from dicom_node.rounds import repeated
from dicom_node.shadow.work_register import WorkRegister

logger = logging.getLogger(__name__)

# Things are kept for hours and days, so it need not be shorter.
INTERVAL_S = 600.0

OTHER_RUNS = timedelta(hours=1)
"""Age at which the files of a run that does not count are removed."""


@dataclass(frozen=True)
class Holding:
    """What one process of several cleans up, where each has a folder of its own."""

    gateway: str
    """Its name: the jobs whose results it holds are its to forget."""
    forget: Callable[[Job], None]
    """Takes a job off the list, soon."""


def sweep(
    ledger: Ledger,
    spool: Spool,
    data: DataFolder,
    retention: Retention,
    now: datetime,
    holding: Holding | None = None,
) -> int:
    """Remove what has been kept long enough; return how many jobs lost files or their row."""
    jobs, swept, forgotten = [located(job, data) for job in ledger.jobs()], 0, set[str]()
    forget = holding.forget if holding else ledger.forget
    for job in expired(jobs, retention, now):
        # Files in one round, the row in a later one: without its row nobody would find the files.
        if _remove_files(job, spool, data):
            swept += 1
        elif holding and job.holder != holding.gateway:
            continue
        elif _forget(job, forget, data, now - retention.rows):
            swept += 1
            forgotten.add(job.id)
    _remove_jobless(jobs, spool, now - retention.failed)
    _remove_other_runs(jobs, data, now - OTHER_RUNS)
    if holding:  # a job may be removed by a process that has none of its files
        _remove_jobless_results(jobs, data, now - retention.failed)
    for result in data.delivered.glob("*.dcm"):
        if older(result, now - retention.delivered):
            result.unlink(missing_ok=True)
    # Last: a register that is damaged holds up nothing else.
    if not holding:  # there PostgreSQL has the numbers, and who forgets the jobs forgets them
        _forget_numbers(forgotten, jobs, StoredNumbers(data.numbers))
    CorrectionRegister(data.corrections).trim(now - retention.rows)
    return swept


def _remove_files(job: Job, spool: Spool, data: DataFolder) -> bool:
    """Remove the received files and the results of a job; return whether it had any."""
    results = data.results_of(job.id)
    if not results and not any(path.exists() for path in job.paths):
        return False
    # While the files are there: the audit message takes their classes and senders from them.
    _record_removal(job.study_uid, [*job.paths, *results])
    spool.remove(job.paths)
    for result in results:
        result.unlink(missing_ok=True)
    logger.info("removed", extra={"action": "sweep", "job": job.id, "series": job.series_uid})
    return True


def _forget(job: Job, forget: Callable[[Job], None], data: DataFolder, before: datetime) -> bool:
    if job.finished is None or job.finished >= before:
        return False
    _drop_labels(job, data)
    forget(job)
    logger.info("forgotten", extra={"action": "sweep", "job": job.id, "series": job.series_uid})
    return True


def _forget_numbers(
    forgotten: Collection[str], jobs: Sequence[Job], numbers: LastingNumbers
) -> None:
    """Forget the Series Numbers of studies of which no job is left."""
    left = {job.study_uid for job in jobs if job.id not in forgotten}
    if studies := {job.study_uid for job in jobs if job.id in forgotten} - left:
        numbers.forget(studies)


def _drop_labels(job: Job, data: DataFolder) -> None:
    """Remove the labels that outlive a job's other files, for corrections that come late."""
    try:
        # First: a shadow that computes in this moment sees that its row is gone, and removes its
        # files itself.
        WorkRegister(data.shadow).forget(job.id)
    except (OSError, StoreUnusable) as error:
        _log_failure(error)  # a damaged register holds up nothing else
    for kept in (*data.kept_labels_of(job.id), *data.shadow_files_of(job.id)):
        kept.unlink(missing_ok=True)
    for run in data.runs_of(job.id):
        shutil.rmtree(run, ignore_errors=True)


def _remove_jobless(jobs: Sequence[Job], spool: Spool, before: datetime) -> None:
    """Remove received files that no job has, such as those of a job that was forgotten."""
    owned = {path for job in jobs for path in job.paths}
    for series in spool.series():
        jobless = [
            path for path in spool.paths(series) if path not in owned and older(path, before)
        ]
        if jobless:
            _record_removal(series.study_uid, jobless)
        spool.remove(jobless)


def _remove_other_runs(jobs: Sequence[Job], data: DataFolder, before: datetime) -> None:
    """Remove what runs in a cluster have left whose files are not the result of their job.

    While a job has no result it is unknown which of its runs will count.
    """
    kept = {job.outcome.folder for job in jobs if job.outcome}
    undecided = {job.id for job in jobs if job.outcome is None}
    for job, folder in data.runs():
        if folder not in kept and job not in undecided and older(folder, before):
            shutil.rmtree(folder, ignore_errors=True)  # what is left is tried again
            logger.info("another run removed", extra={"action": "sweep", "job": job})


def _remove_jobless_results(jobs: Sequence[Job], data: DataFolder, before: datetime) -> None:
    known = {job.id for job in jobs}
    for path in data.results.iterdir():
        if path.name.partition(".")[0] not in known and older(path, before):
            path.unlink(missing_ok=True)


def located(job: Job, data: DataFolder) -> Job:
    """Return a job with the paths that its received files have in this folder."""
    return replace(job, paths=tuple(data.located(path) for path in job.paths))


def _record_removal(study_uid: str, paths: Sequence[Path]) -> None:
    record(lambda: deleted(study_of(study_uid, paths)))


def discard(job: Job, ledger: Ledger, spool: Spool, data: DataFolder) -> None:
    """Forget a job that has ended and remove its files, except those that another job shares."""
    jobs = ledger.jobs()
    shared = {
        path
        for each in jobs
        if each.id != job.id and each.series_uid == job.series_uid
        for path in each.paths
    }
    received = [data.located(path) for path in job.paths if path not in shared]
    results = data.results_of(job.id)
    # While the files are there, as above.
    if received or results:
        _record_removal(job.study_uid, [*received, *results])
    spool.remove(received)
    for result in results:
        result.unlink(missing_ok=True)
    _drop_labels(job, data)
    ledger.forget(job)
    _forget_numbers({job.id}, jobs, StoredNumbers(data.numbers))


@contextmanager
def cleaning_up(
    database_url: str,
    spool: Spool,
    data: DataFolder,
    retention: Retention,
    holding: Holding | None = None,
) -> Iterator[None]:
    """Sweep every ten minutes while the block lasts."""

    def run() -> None:
        try:
            with open_ledger(database_url) as ledger:
                sweep(ledger, spool, data, retention, datetime.now(UTC), holding)
        except (OSError, SQLAlchemyError, NodeError) as error:
            _log_failure(error)
        # The edge of this thread: what was not removed stays, and the next round tries again.
        except Exception as error:
            _log_failure(unforeseen(error))

    # At once: a node that is restarted often has to clean up, too.
    with repeated(run, INTERVAL_S, "clean-up"):
        yield


def _log_failure(reason: object) -> None:
    logger.warning("clean-up failed, will be tried again: %s", reason, extra={"action": "sweep"})
