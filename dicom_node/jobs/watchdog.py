"""Watchdog: put back to work what the store calls running and no thread runs.

DBOS records the end of a workflow in its store. Where that fails, on a full disk above all, the
thread ends and the state stays "PENDING" until the next start. So this process keeps a list of the
workflows that it runs, compares it with the store, and queues again what is on one side only.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from dbos import DBOS, WorkflowStatus

from dicom_node.error_location import unforeseen
from dicom_node.jobs.workflows import DELIVER, GIVEN_UP, SEGMENT, RunningWorkflows, cancel, queue_of
from dicom_node.rounds import repeated

logger = logging.getLogger(__name__)

ROUND_S = 15.0
"""Seconds between two comparisons. A workflow without a thread in two of them in a row is queued
again: between the end of its thread and the record of it lies a moment that is no fault."""

MOST = 3
"""A workflow is put back this often; then the job fails, or it would go round for ever."""

PUT_BACK = "put back"
"""Attribute of a workflow: how often the watchdog has queued it again."""


@contextmanager
def watching(running: RunningWorkflows) -> Iterator[None]:
    """Compare what runs with the store while the block lasts."""
    suspects: set[str] = set()

    def run() -> None:
        nonlocal suspects
        try:
            suspects = put_back(running, suspects)
        # The edge of this thread, which must not end: the store may be full, locked or away,
        # and DBOS passes on whatever its driver raises. The workflows stay as they are for
        # the next round.
        except Exception as error:
            logger.warning("watchdog: %s", unforeseen(error), extra={"action": "watch"})

    # Not at once: what the start resumes has no thread yet.
    with repeated(run, ROUND_S, "watchdog", first_s=ROUND_S):
        yield


def put_back(running: RunningWorkflows, suspects: set[str]) -> set[str]:
    """Queue again those of `suspects` that still have no thread; return the suspects of now."""
    pending = DBOS.list_workflows(
        name=[SEGMENT, DELIVER], status="PENDING", executor_id=DBOS.executor_id
    )
    orphans = {each.workflow_id: each for each in pending if each.workflow_id not in running}
    for name in suspects & set(orphans):
        _queue_again(orphans[name])
    return set(orphans)


def _queue_again(workflow: WorkflowStatus) -> None:
    name, times = workflow.workflow_id, int((workflow.attributes or {}).get(PUT_BACK, 0))
    extra = {"action": "watch", "job": name}
    if times >= MOST:
        reason = f"its end could not be recorded, {MOST} times; retry it once the disk has room"
        # Back to 0, so that a retry has as many tries again.
        cancel(workflow, {GIVEN_UP: reason, PUT_BACK: 0})
        logger.error("failed: %s", reason, extra=extra)
        return
    DBOS.update_workflow_attributes(name, {PUT_BACK: times + 1}, merge=True)
    DBOS.resume_workflow(name, queue_name=queue_of(workflow))
    logger.warning("no thread works on it: queued again", extra=extra)
