"""The two durable workflows, written against what a worker can do.

Both are replayed after a crash: what a finished step returned is not asked for again, so all that
could differ the second time (the configuration above all) must come from a step's answer.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from dbos import DBOS, SetWorkflowID

from dicom_node.errors import PeerUnavailable
from dicom_node.jobs.state import URGENT

SEGMENT, DELIVER = "segment", "deliver"
"""Names of the workflows in the store."""

SEND, CONFIRM = "send", "confirm"
"""Names of a delivery's steps in the store."""

CRASHES = 10
"""A series during which the process has died this often is not tried again by itself."""

DELIVERIES_AT_ONCE = 8
"""For each peer; a pausing delivery counts."""


class Worker(Protocol):
    """What the workflows need done. Every method answers in JSON's own types."""

    def segment(
        self, job: str, series_uid: str, paths: list[str], *, urgent: bool
    ) -> dict[str, Any]:
        """Segment a series; return its `Outcome`, and its "deliveries": peer, item and file."""

    def deliver(self, series_uid: str, peer: str, seg: Path) -> dict[str, Any]:
        """Send `seg` once; return "seconds", and under "refused" why the peer has it not yet."""

    def confirm(self, series_uid: str, peer: str, seg: Path) -> dict[str, Any]:
        """Ask once whether the peer keeps it; return "by" what it confirmed it, or under "refused"
        why it has not, and under "lost" whether it says that it has it no longer."""

    def pauses(self) -> Iterator[float]:
        """Yield how long to wait after each failed delivery."""


def segment_queue(node: str) -> str:
    """Return the queue on which a node's series wait; only that node has their files."""
    return f"{SEGMENT} on {node}"


def urgent_queue(node: str) -> str:
    """Return the queue on which a node's urgent series wait; the others' does not hold it up."""
    return f"{URGENT} on {node}"


def delivery_queue(peer: str, node: str) -> str:
    """Return the queue on which a node's deliveries to `peer` wait."""
    return f"{DELIVER} to {peer} on {node}"


def register(worker: Worker) -> None:
    """Tell DBOS what its workflows do; must come before its launch."""

    def segment(study_uid: str, series_uid: str, paths: list[str]) -> dict[str, Any]:
        job = str(DBOS.workflow_id)
        made = DBOS.run_step({"name": "segment"}, compute, job, series_uid, paths)
        for peer, item, file in made["deliveries"]:
            with SetWorkflowID(f"{job}-{peer}-{item}"):
                queue = delivery_queue(peer, DBOS.executor_id)
                DBOS.enqueue_workflow(queue, deliveries, series_uid, peer, file)
        return made

    def compute(job: str, series_uid: str, paths: list[str]) -> dict[str, Any]:
        status = DBOS.get_workflow_status(job)
        urgent = bool(status and (status.queue_name or "").startswith(URGENT))
        return worker.segment(job, series_uid, paths, urgent=urgent)

    def deliver(series_uid: str, peer: str, seg: str) -> dict[str, Any]:
        taken, what = False, (series_uid, peer, Path(seg))
        for attempt, pause in enumerate(worker.pauses(), start=1):
            if not taken:
                answer = sent = DBOS.run_step({"name": SEND}, worker.deliver, *what)
                taken = not sent["refused"]
            if taken:
                answer = DBOS.run_step({"name": CONFIRM}, worker.confirm, *what)
                if not answer["refused"]:
                    done = {"attempts": attempt, "seconds": sent["seconds"]}
                    return {**done, "confirmed": answer["by"]}
                taken = not answer["lost"]
            DBOS.sleep(pause)
        raise PeerUnavailable(f"gave up on {peer}: {answer['refused']}")

    DBOS.workflow(name=SEGMENT, max_recovery_attempts=CRASHES)(segment)
    deliveries = DBOS.workflow(name=DELIVER, max_recovery_attempts=None)(deliver)
