"""What can be said of a job, read from the states of its workflows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from dbos import WorkflowStatus

from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.results.objects import SEG, item_name

URGENT = "urgent"
"""Begins the name of the queue on which urgent series wait."""


class State(StrEnum):
    """What a job, or one of its deliveries, is doing."""

    WAITING = "waiting"
    SEGMENTING = "segmenting"
    DELIVERING = "delivering"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"

    @property
    def active(self) -> bool:
        """Whether the node will do more by itself."""
        return self in (State.WAITING, State.SEGMENTING, State.DELIVERING)

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen, and nothing is left for a person to do."""
        return self in (State.DONE, State.SKIPPED)


@dataclass(frozen=True)
class Delivery:
    """The way of one result to one peer."""

    id: str
    peer: str
    queue: str
    """Where it waits, or waited, to be done."""
    item: str
    """Which object of the series, such as "seg"."""
    state: State
    reason: str
    """Why it failed; empty otherwise."""
    attempts: int
    seconds: float
    confirmed: str
    """How the peer confirmed that it keeps the result; empty as long as it has not."""

    @property
    def to(self) -> str:
        """The peer, and what goes to it unless that is the SEG."""
        return self.peer if self.item == SEG.name else f"{self.peer} ({self.item})"


@dataclass(frozen=True)
class Job:
    """One series' way through the node."""

    id: str
    study_uid: str
    series_uid: str
    paths: tuple[Path, ...]
    """Received files it works on."""
    queue: str
    """Where it waits, or waited, to be done; each node has its own."""
    created: datetime
    finished: datetime | None
    """When the last of its workflows ended."""
    state: State
    reason: str
    """Why it failed or was skipped; empty otherwise."""
    outcome: Outcome | None
    deliveries: tuple[Delivery, ...]

    @property
    def urgent(self) -> bool:
        """Whether it goes before all others."""
        return self.queue.startswith(URGENT)

    @property
    def review(self) -> tuple[str, ...]:
        """Why a person should look at the result; empty where nothing asks for it."""
        return self.outcome.review if self.outcome else ()


def to_job(segment: WorkflowStatus, deliveries: Sequence[WorkflowStatus]) -> Job:
    """Read a job from its workflow and that workflow's children."""
    study_uid, series_uid, paths = arguments(segment)
    outcome = Outcome.from_json(segment.output["outcome"]) if segment.output else None
    sent = tuple(to_delivery(each) for each in deliveries)
    state = _state(segment, outcome, sent)
    ends = [each.completed_at for each in (segment, *deliveries)]
    return Job(
        id=segment.workflow_id,
        study_uid=study_uid,
        series_uid=series_uid,
        paths=tuple(map(Path, paths)),
        queue=segment.queue_name or "",
        created=_moment(segment.created_at or 0),
        finished=None if None in ends else _moment(max(end or 0 for end in ends)),
        state=state,
        reason=_reason(segment, outcome, sent),
        outcome=outcome,
        deliveries=sent,
    )


def arguments(status: WorkflowStatus) -> tuple[Any, ...]:
    """Return what a workflow was started with."""
    return tuple(status.input["args"]) if status.input else ("", "", "")


def to_delivery(status: WorkflowStatus) -> Delivery:
    """Read a delivery from its workflow."""
    _, peer, file = arguments(status)[:3]
    answer = status.output or {"attempts": 0, "seconds": 0.0}
    return Delivery(
        id=status.workflow_id,
        peer=peer,
        queue=status.queue_name or "",
        item=item_name(Path(file)),
        state=_DELIVERY_STATES.get(status.status, State.FAILED),
        reason=_why(status),
        attempts=answer["attempts"],
        seconds=answer["seconds"],
        confirmed=answer.get("confirmed", ""),
    )


_DELIVERY_STATES = {
    "ENQUEUED": State.WAITING,
    "PENDING": State.DELIVERING,
    "SUCCESS": State.DONE,
    "CANCELLED": State.SKIPPED,
}


def _state(
    segment: WorkflowStatus, outcome: Outcome | None, deliveries: Sequence[Delivery]
) -> State:
    if segment.status == "ENQUEUED":
        return State.WAITING
    if segment.status == "PENDING":
        return State.SEGMENTING
    if segment.status == "CANCELLED":
        return State.SKIPPED
    if segment.status != "SUCCESS" or outcome is None:
        return State.FAILED
    if outcome.verdict is not Verdict.SEGMENTED:
        return State.SKIPPED
    states = {delivery.state for delivery in deliveries}
    if states & {State.WAITING, State.DELIVERING}:
        return State.DELIVERING
    return next((each for each in (State.FAILED, State.SKIPPED) if each in states), State.DONE)


def _reason(
    segment: WorkflowStatus, outcome: Outcome | None, deliveries: Sequence[Delivery]
) -> str:
    own = outcome.reason if outcome else _why(segment)
    refused = [f"{each.to}: {each.reason}" for each in deliveries if each.reason]
    return "; ".join([own, *refused] if own else refused)


def _why(status: WorkflowStatus) -> str:
    """Return the message of the error that ended a workflow."""
    if status.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        return "the node died again and again while working on it"
    if status.status == "CANCELLED":
        return "given up: more instances of the series came"
    return str(status.error) if status.error else ""


def _moment(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
