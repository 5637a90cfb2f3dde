"""The state of a job, read from the states of its workflows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from dbos import WorkflowStatus

from dicom_node.deliver.attempts import Delivered
from dicom_node.jobs.records import DeliveryTask, SegmentResult, SeriesTask
from dicom_node.jobs.workflows import (
    GIVEN_UP,
    POSTPONED,
    RECEIVED_BY,
    REFUSED_COPIES,
    SUPERSEDED_BY,
    WHY_PREFERRED,
    attribute,
    held_queue,
    is_moving,
    is_urgent,
    queue_of,
)
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.results.objects import SEG


class State(StrEnum):
    """State of a job or of one of its deliveries."""

    HELD = "held"
    """Waits for other series of its study, of which the best is segmented."""
    WAITING = "waiting"
    SEGMENTING = "segmenting"
    DELIVERING = "delivering"
    DONE = "done"
    NOTHING_FOUND = "nothing found"
    NOT_SELECTED = "not selected"
    REFUSED = "refused"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    SKIPPED = "skipped"
    """Of a delivery: cancelled before it was made."""

    @property
    def active(self) -> bool:
        """Whether the node will do more by itself."""
        return self in (State.HELD, State.WAITING, State.SEGMENTING, State.DELIVERING)

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen, and nothing is left for a person to do."""
        return not self.active and self not in (State.FAILED, State.REFUSED)


@dataclass(frozen=True)
class Delivery:
    """Delivery of one result to one peer."""

    id: str
    peer: str
    queue: str
    """Queue of the delivery."""
    item: str
    """Name of the object, such as "seg"."""
    state: State
    reason: str
    """Why it failed; empty otherwise."""
    attempts: int
    seconds: float
    confirmed: str
    """Means by which the peer confirmed the result; empty until then."""
    finished: datetime | None = None
    """When it ended; None while it is under way."""

    @property
    def to(self) -> str:
        """The peer, and what goes to it unless that is the SEG."""
        return self.peer if self.item == SEG.name else f"{self.peer} ({self.item})"


@dataclass(frozen=True)
class Job:
    """Work on one series."""

    id: str
    study_uid: str
    series_uid: str
    paths: tuple[Path, ...]
    """Received files it works on."""
    queue: str
    """Queue of the job; each node has its own."""
    urgent: bool
    """Whether it goes before all others."""
    created: datetime
    finished: datetime | None
    """When the last of its workflows ended."""
    state: State
    reason: str
    """Why there is no result, or why it was not delivered; empty otherwise."""
    outcome: Outcome | None
    deliveries: tuple[Delivery, ...]
    modality: str = ""
    """Of the series, such as "CT"; empty where it is not known."""
    refused_copies: tuple[str, ...] = ()
    """What other callers sent of the series while it came, and was refused."""
    holder: str = ""
    """Gateway that holds its results, or before them its files; empty where paths are absolute."""

    @property
    def node(self) -> str:
        """Name of the node that has its files."""
        # As `segment_queue`, `urgent_queue` and `held_queue` write it.
        return self.queue.partition(" on ")[2]

    @property
    def ending(self) -> str:
        """Ending of the series; empty while it is under way, or when another job took its place."""
        if self.state.active or self.state is State.SUPERSEDED:
            return ""
        return Verdict.SEGMENTED if self.state is State.DONE else self.state

    @property
    def review(self) -> tuple[str, ...]:
        """Why a person should look at the result; empty where nothing asks for it."""
        return self.outcome.review if self.outcome else ()


def to_job(segment: WorkflowStatus, deliveries: Sequence[WorkflowStatus]) -> Job:
    """Read a job from its workflow and that workflow's children."""
    task = series_task(segment)
    outcome = SegmentResult.from_json(segment.output).outcome if segment.output else None
    sent = tuple(to_delivery(each) for each in deliveries)
    state = _state(segment, outcome, sent)
    ends = [_end(each) for each in (segment, *deliveries)]
    return Job(
        id=segment.workflow_id,
        study_uid=task.study_uid,
        series_uid=task.series_uid,
        paths=task.paths,
        queue=queue_of(segment),
        urgent=is_urgent(segment),
        created=_moment(segment.created_at or 0),
        # None in one of them: a workflow of the job still runs.
        finished=None if None in ends else max(filter(None, ends)),
        state=state,
        reason=_reason(segment, outcome, sent),
        outcome=outcome,
        deliveries=sent,
        modality=task.modality,
        refused_copies=refused_copies(segment),
        holder=holder_of(segment),
    )


def result_folder(segment: WorkflowStatus) -> Path | None:
    """Return the folder of a job's result (in a cluster, of the run that counts), or None."""
    if not segment.output:
        return None
    return SegmentResult.from_json(segment.output).outcome.folder


def superseded_by(segment: WorkflowStatus) -> str:
    """Return the job that took the place of this one; empty if none did."""
    return str((segment.attributes or {}).get(SUPERSEDED_BY, ""))


def refused_copies(segment: WorkflowStatus) -> tuple[str, ...]:
    """Return what other callers sent of the series of a job, and was refused."""
    return tuple((segment.attributes or {}).get(REFUSED_COPIES, ()))


def holder_of(segment: WorkflowStatus) -> str:
    """Return the gateway that holds the results of a job, or before them the files of its series.

    Empty where the processes share a folder.
    """
    result = SegmentResult.from_json(segment.output).holder if segment.output else ""
    return result or attribute(segment, RECEIVED_BY) or series_task(segment).holder


def is_held(segment: WorkflowStatus) -> bool:
    """Return whether a workflow waits for other series of its study."""
    held = (segment.queue_name or "").startswith(held_queue(""))
    return held and segment.status == "ENQUEUED"


def series_task(segment: WorkflowStatus) -> SeriesTask:
    """Return what a segment workflow was started with."""
    return SeriesTask.from_arguments(segment.input["args"] if segment.input else ())


def to_delivery(status: WorkflowStatus) -> Delivery:
    """Read a delivery from its workflow."""
    task = DeliveryTask.from_arguments(status.input["args"] if status.input else ())
    result = Delivered.from_json(status.output or {})
    return Delivery(
        id=status.workflow_id,
        peer=task.peer,
        queue=queue_of(status),
        item=task.item,
        state=_delivery_state(status),
        reason=_why(status),
        attempts=result.attempts,
        seconds=result.seconds,
        confirmed=result.confirmed,
        finished=_end(status),
    )


def _delivery_state(status: WorkflowStatus) -> State:
    if is_moving(status):
        return State.WAITING
    return State.FAILED if _given_up(status) else _DELIVERY_STATES.get(status.status, State.FAILED)


_DELIVERY_STATES = {
    "ENQUEUED": State.WAITING,
    "PENDING": State.DELIVERING,
    "SUCCESS": State.DONE,
    "CANCELLED": State.SKIPPED,
}


def _state(
    segment: WorkflowStatus, outcome: Outcome | None, deliveries: Sequence[Delivery]
) -> State:
    # First: a job that another one took the place of may have ended in any way.
    if superseded_by(segment):
        return State.SUPERSEDED
    if _given_up(segment):
        return State.FAILED
    if is_moving(segment):
        return State.WAITING
    if segment.status == "CANCELLED":  # 0.1 cancelled a part of a series when more of it came
        return State.SUPERSEDED
    if segment.status == "ENQUEUED":
        return State.HELD if is_held(segment) else State.WAITING
    if segment.status == "PENDING":
        return State.SEGMENTING
    # ERROR, and whatever else a store of an older version may hold.
    if segment.status != "SUCCESS" or outcome is None:
        return State.FAILED
    if outcome.verdict is not Verdict.SEGMENTED:
        return State(outcome.verdict)
    states = {delivery.state for delivery in deliveries}
    if states & {State.WAITING, State.DELIVERING}:
        return State.DELIVERING
    return next((each for each in (State.FAILED, State.SKIPPED) if each in states), State.DONE)


def _reason(
    segment: WorkflowStatus, outcome: Outcome | None, deliveries: Sequence[Delivery]
) -> str:
    if later := superseded_by(segment):
        return f"the series came again, changed or more of it: superseded by job {later}"
    if is_held(segment):
        why = attribute(segment, WHY_PREFERRED)
        return f"until that has a result: {why}" if why else "until its study is complete"
    if segment.status == "ENQUEUED" and (why := attribute(segment, POSTPONED)):
        return why
    own = outcome.reason if outcome else _why(segment)
    refused = [f"{each.to}: {each.reason}" for each in deliveries if each.reason]
    return "; ".join([own, *refused] if own else refused)


def _why(status: WorkflowStatus) -> str:
    """Return the message of the error that ended a workflow."""
    if reason := _given_up(status):
        return reason
    if status.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        return "the node died again and again while working on it"
    if status.status == "CANCELLED" and not is_moving(status):
        return "given up: more instances of the series came"
    return str(status.error) if status.error else ""


def _given_up(status: WorkflowStatus) -> str:
    """Return why the watchdog cancelled a workflow; empty if it did not, or it runs again."""
    reason = str((status.attributes or {}).get(GIVEN_UP, ""))
    return reason if status.status == "CANCELLED" else ""


def _end(status: WorkflowStatus) -> datetime | None:
    """Return when a workflow ended; None while it has not."""
    return _moment(status.completed_at) if status.completed_at and not is_moving(status) else None


def _moment(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
