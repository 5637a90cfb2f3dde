"""Remove the files of jobs that ended long ago, at intervals while the node runs."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from dicom_node.data_folder import DataFolder
from dicom_node.error_location import unforeseen
from dicom_node.errors import NodeError
from dicom_node.jobs.ledger import Ledger, open_ledger
from dicom_node.jobs.retention import expired
from dicom_node.jobs.state import Job
from dicom_node.receive.spool import Spool

logger = logging.getLogger(__name__)

INTERVAL_S = 600.0


def sweep(ledger: Ledger, spool: Spool, data: DataFolder, keep_for: timedelta) -> int:
    """Remove the received files and the results of expired jobs; return how many jobs had any."""
    swept = 0
    for job in expired(ledger.jobs(), keep_for, datetime.now(UTC)):
        results = data.results_of(job.id)
        if not results and not any(path.exists() for path in job.paths):
            continue
        spool.remove(job.paths)
        for result in results:
            result.unlink(missing_ok=True)
        swept += 1
        logger.info("removed", extra={"action": "sweep", "job": job.id, "series": job.series_uid})
    return swept


def discard(job: Job, ledger: Ledger, spool: Spool, data: DataFolder) -> None:
    """Forget a job that has ended and remove its files, except those that another job shares."""
    shared = {
        path
        for each in ledger.jobs()
        if each.id != job.id and each.series_uid == job.series_uid
        for path in each.paths
    }
    spool.remove(path for path in job.paths if path not in shared)
    for result in data.results_of(job.id):
        result.unlink(missing_ok=True)
    ledger.forget(job)


@contextmanager
def cleaning_up(
    database_url: str, spool: Spool, data: DataFolder, keep_for: timedelta
) -> Iterator[None]:
    """Sweep every ten minutes while the block lasts."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                with open_ledger(database_url) as ledger:
                    sweep(ledger, spool, data, keep_for)
            except (OSError, SQLAlchemyError, NodeError) as error:
                _log_failure(error)
            except Exception as error:  # the edge of this thread: the next round may do better
                _log_failure(unforeseen(error))
            stop.wait(INTERVAL_S)

    thread = threading.Thread(target=run, name="clean-up", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _log_failure(reason: object) -> None:
    logger.warning("clean-up failed, will be tried again: %s", reason, extra={"action": "sweep"})
