"""The two durable workflows, written against what a worker can do.

Both are replayed after a crash: what a finished step returned is not asked for again, so all that
could differ the second time (the configuration above all) must come from a step's answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from dbos import DBOS, SetWorkflowID

from dicom_node.deliver.attempts import ConfirmAnswer, SendAnswer, Steps
from dicom_node.deliver.attempts import deliver as deliver_object
from dicom_node.errors import PeerRefused
from dicom_node.jobs.backoff import Backoff
from dicom_node.jobs.state import URGENT
from dicom_node.results.objects import ObjectKind

SEGMENT, DELIVER = "segment", "deliver"
"""Names of the workflows in the store."""

SEND, CONFIRM = "send", "confirm"
"""Names of a delivery's steps in the store."""

AWAIT_SEG = "await SEG"
"""Name of the step in which a report looks whether the SEG is delivered."""

ACTIVE = ("ENQUEUED", "PENDING")
"""States of a workflow that has not come to its end."""

SEG_PAUSES = Backoff(first_s=0.05, longest_s=600.0, give_up_s=30 * 86400.0)
"""Pauses between two looks at the delivery of a SEG; it usually takes a tenth of a second."""

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

    def deliver(self, series_uid: str, peer: str, file: Path) -> dict[str, Any]:
        """Send `file` once; return a `SendAnswer`."""

    def confirm(self, series_uid: str, peer: str, file: Path) -> dict[str, Any]:
        """Ask once whether the peer keeps it; return a `ConfirmAnswer`."""

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
                after = _seg_delivery(job, peer, item, made["deliveries"])
                DBOS.enqueue_workflow(queue, deliveries, series_uid, peer, file, after)
        return made

    def compute(job: str, series_uid: str, paths: list[str]) -> dict[str, Any]:
        status = DBOS.get_workflow_status(job)
        urgent = bool(status and (status.queue_name or "").startswith(URGENT))
        return worker.segment(job, series_uid, paths, urgent=urgent)

    def deliver(series_uid: str, peer: str, file: str, after: str = "") -> dict[str, Any]:
        what = (series_uid, peer, Path(file))
        if after:
            _wait_for(after)
        steps = Steps(
            send=lambda: SendAnswer.from_json(DBOS.run_step({"name": SEND}, worker.deliver, *what)),
            confirm=lambda: ConfirmAnswer.from_json(
                DBOS.run_step({"name": CONFIRM}, worker.confirm, *what)
            ),
            pauses=worker.pauses,
            sleep=DBOS.sleep,
        )
        return asdict(deliver_object(peer, steps))

    DBOS.workflow(name=SEGMENT, max_recovery_attempts=CRASHES)(segment)
    deliveries = DBOS.workflow(name=DELIVER, max_recovery_attempts=None)(deliver)


def _seg_delivery(job: str, peer: str, item: str, deliveries: Sequence[Sequence[str]]) -> str:
    """Return the delivery of the SEG that an object refers to; empty if it refers to none."""
    kind, _, form = item.partition("-")
    seg = "-".join(filter(None, (ObjectKind.SEG, form)))
    sent_too = any((to, each) == (peer, seg) for to, each, _ in deliveries)
    return f"{job}-{peer}-{seg}" if kind == ObjectKind.REPORT and sent_too else ""


def _wait_for(delivery: str) -> None:
    """Return once the SEG is delivered: no report may point at a SEG that the peer lacks.

    Raises:
        PeerRefused: it never will be.
    """
    for pause in SEG_PAUSES.pauses():
        status = DBOS.run_step({"name": AWAIT_SEG}, _status, delivery)
        if status == "SUCCESS":
            return
        if status not in ACTIVE:
            raise PeerRefused(
                "not sent: the SEG that it refers to was not delivered; retry both once it can be"
            )
        DBOS.sleep(pause)
    raise PeerRefused("not sent: the SEG that it refers to was not delivered in time")


def _status(workflow: str) -> str:
    found = DBOS.get_workflow_status(workflow)
    return found.status if found else "absent"
