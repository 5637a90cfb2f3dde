"""A worker that leaves its work alone once the store has given it to another process.

That happens to a process that was cut off or stopped for longer than its heartbeat may be missing,
and then goes on. It saves work; what makes late files harmless is `cluster.epochs`.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from dbos import DBOS

from dicom_node.deliver.attempts import ConfirmAnswer, SendAnswer
from dicom_node.jobs.records import DeliveryTask, SegmentResult, SeriesTask
from dicom_node.jobs.workflows import DeliverySteps, NotedWorkflows, SeriesSteps
from dicom_node.pipeline.outcome import Outcome

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""Seconds within which progress is reported without another look at the store."""


class TakenOver(BaseException):
    """Another process has this work. No Exception: DBOS would record a failed workflow."""


def taken_over(job: str, reason: str = "it is not this process's any more") -> TakenOver:
    """Log that a job is left alone; return the error that says so."""
    logger.warning("left alone: %s", reason, extra={"action": "take_over", "job": job})
    return TakenOver(job)


def require_owned(workflow: str) -> None:
    """Return if the store has this process at work on a workflow.

    Raises:
        TakenOver: it has another one, or the workflow waits for one.
    """
    status = DBOS.get_workflow_status(workflow)
    if status is None or (status.status, status.executor_id) != ("PENDING", DBOS.executor_id):
        raise taken_over(workflow)


class OwnershipCheck:
    """A progress callback that ends the work on a job which is no longer this process's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last_s: dict[str, float] = {}

    def __call__(self, job: str, done: int, of: int) -> None:
        """Look at the store, unless it was looked at within the last second."""
        now, ended = self._clock(), done >= of
        with self._lock:
            due = ended or now - self._last_s.get(job, 0.0) >= LOOK_S
            if due:
                self._last_s[job] = now
            if ended:  # what follows writes the results
                self._last_s.pop(job, None)
        if due:
            require_owned(job)


@dataclass(frozen=True)
class FencedSeries:
    """Runs the steps of series as long as they are this process's."""

    worker: SeriesSteps
    check: Callable[[str], None] = field(default=require_owned)

    def segment(
        self, job: str, task: SeriesTask, *, urgent: bool, superseded: Sequence[Outcome]
    ) -> SegmentResult:
        """Segment a series and make its results."""
        self.check(job)
        result = self.worker.segment(job, task, urgent=urgent, superseded=superseded)
        # Before the step's end is recorded.
        self.check(job)
        return result

    def failed(self, job: str, task: SeriesTask, reason: str) -> Sequence[DeliveryTask]:
        """Make the receipts of a series whose work failed."""
        self.check(job)
        return self.worker.failed(job, task, reason)


@dataclass(frozen=True)
class FencedDeliveries:
    """Runs the steps of deliveries as long as they are this process's."""

    deliverer: DeliverySteps
    check: Callable[[str], None] = field(default=require_owned)
    steps: NotedWorkflows = field(default_factory=NotedWorkflows)
    """Deliveries of which a step runs now."""

    def deliver(self, task: DeliveryTask) -> SendAnswer:
        """Send a result once."""
        with self.steps.noted(delivery := str(DBOS.workflow_id)):
            self.check(delivery)
            return self.deliverer.deliver(task)

    def confirm(self, task: DeliveryTask) -> ConfirmAnswer:
        """Ask the peer once whether it keeps a result."""
        with self.steps.noted(delivery := str(DBOS.workflow_id)):
            self.check(delivery)
            return self.deliverer.confirm(task)

    def pauses(self) -> Iterator[float]:
        """Yield the seconds to wait after each failed attempt."""
        return self.deliverer.pauses()
