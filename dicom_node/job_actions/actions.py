"""Put jobs back to work, send their results, remove them; each action returns what it did."""

from collections.abc import Mapping

from dicom_node.data_folder import DataFolder
from dicom_node.jobs.ledger import Ledger
from dicom_node.jobs.state import Job, State
from dicom_node.jobs.upkeep.cleanup import discard
from dicom_node.receive.spool import Spool
from dicom_node.results.objects import Profile


def retry(job: Job, ledger: Ledger, peer: str = "", *, now: bool = False) -> list[str]:
    """Repeat what failed, was refused or made no result; return what is repeated.

    Args:
        job: to be repeated.
        ledger: of the node.
        peer: only deliveries to it; empty: everything.
        now: also end the pauses of deliveries that are under way.
    """
    if job.state is State.SUPERSEDED:
        return []
    done = ledger.retry(job, peer)
    return done + _hasten(job, ledger, peer) if now else done


def redo(job: Job, ledger: Ledger, data: DataFolder) -> str:
    """Segment a series again and deliver its results again, though it is done.

    Args:
        job: to be done again.
        ledger: of the node.
        data: of this node; the job may be another's that shares the store.
    """
    if job.state is State.SUPERSEDED:
        return f"not done again: {job.reason}"
    missing = sum(not path.exists() for path in job.paths) if job.node == data.name else 0
    if missing:
        return f"not done again: {missing} received files were removed; send the series again"
    return "segment again" if ledger.redo(job) else nothing_to_do(job)


def send(job: Job, profiles: Mapping[str, Profile], ledger: Ledger, data: DataFolder) -> str:
    """Send the results of a job again, or to further peers, without segmenting again.

    Those of a superseded job stay: they may be of an incomplete series, or of another patient.

    Args:
        job: whose results are sent.
        profiles: peers that receive them, and the objects that each receives.
        ledger: of the node.
        data: of this node; the job may be another's that shares the store, and has the files.
    """
    from dicom_node.jobs.steps.series_worker import delivery_tasks  # half a second of imports

    if job.state is State.SUPERSEDED:
        return f"not sent: {job.reason}"
    if job.outcome is None or not job.outcome.seg_uid:
        return f"nothing to send, it is {job.state}"
    tasks = delivery_tasks(job.series_uid, job.outcome, profiles, job.holder)
    elsewhere = job.node != data.name
    # A peer may want objects that were not made then, or whose files the clean-up has removed.
    there = [task for task in tasks if elsewhere or task.file.exists()]
    begun = ledger.send(job, there)
    by = f" by node {job.node}" if elsewhere else ""
    words = [f"send to {', '.join(begun)}{by}"] if begun else []
    if absent := [task for task in tasks if task not in there]:
        items = ", ".join(sorted({task.item for task in absent}))
        words.append(f"not kept: {items}; `hepar jobs redo {job.id}` makes it again")
    return "; ".join(words) or "nothing to do, it is being sent"


def urge(job: Job, ledger: Ledger) -> str:
    """Let a waiting job go before all others."""
    if ledger.urge(job):
        return "urgent now"
    return nothing_to_do(job) + (" and urgent already" if job.urgent else "")


def remove(job: Job, ledger: Ledger, spool: Spool, data: DataFolder) -> str:
    """Forget a job that has ended, and remove its files."""
    if job.state.active:
        return f"not removed, it is {job.state}"
    discard(job, ledger, spool, data)
    if job.holder:
        return f"removed; gateway {job.holder} keeps its files for jobs.keep_failed_days at most"
    return "removed"


def nothing_to_do(job: Job) -> str:
    """Return the answer to an action that does not fit the job's state."""
    return f"nothing to do, it is {job.state}"


def _hasten(job: Job, ledger: Ledger, peer: str) -> list[str]:
    """End the pauses of a job's deliveries; return which."""
    pausing = [
        each
        for each in job.deliveries
        if (not peer or each.peer == peer) and ledger.next_attempt(each) is not None
    ]
    for each in pausing:
        ledger.hasten(each)
    return [f"deliver to {each.to} now" for each in pausing]
