"""Jobs that run in the process of a test."""

from dicom_node.jobs.dbos_runtime import run_jobs
from dicom_node.jobs.polling import PollingRate


def run_worker(worker, url, peers=(), executor="test", polling=None):
    """Run jobs with what has the steps of series and of deliveries, while the block lasts."""
    return run_jobs(
        worker,
        worker,
        database_url=url,
        executor=executor,
        peers=peers,
        polling=polling or PollingRate(),
    )
