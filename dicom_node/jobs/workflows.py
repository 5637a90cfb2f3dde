"""The two durable workflows: segment a series, and deliver one result to one peer.

Both are replayed after a crash: a step that finished is not run again, its stored result is used.
So whatever could differ the second time, above all the configuration, must come from a step.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import count
from typing import Any, Protocol

from dbos import DBOS, DBOSClient, SetWorkflowID, WorkflowStatus

from dicom_node.deliver.attempts import ConfirmAnswer, SendAnswer, Steps
from dicom_node.deliver.attempts import deliver as deliver_object
from dicom_node.errors import PeerRefused, lacks_room
from dicom_node.jobs.backoff import Backoff
from dicom_node.jobs.records import DeliveryTask, SegmentResult, SeriesTask, is_of_0_1
from dicom_node.pipeline.outcome import Outcome

SEGMENT, DELIVER = "segment", "deliver"
"""Names of the workflows in the store."""

SEND, CONFIRM = "send", "confirm"
"""Names of a delivery's steps in the store."""

RECEIPT = "receipt"
"""Name of the step that makes the receipts of a job that failed."""

STEPS_VERSION = "2"
"""Version of the workflows' steps, a number. DBOS resumes only work of its own version, so it is
pinned, and raised when work under way could no longer be replayed. `other_steps` takes what older
versions have queued, and relies on two things in each version: the arguments of older ones are
read, and the step `SEGMENT` comes first in its workflow, with a result that is read, too."""

URGENT = "urgent"
"""Name of the urgent queue, and of the attribute of a workflow that says whether it is urgent."""

NOW = "now"
"""Topic of a message that ends the pause of a delivery."""

PAUSE = "DBOS.sleep"
"""Name under which DBOS stores the end of a pause, in seconds since 1970."""

SUPERSEDED_BY = "superseded by"
"""Attribute of a workflow: the job that took its place."""

GIVEN_UP = "given up"
"""Attribute of a workflow that the watchdog has cancelled: why."""

PREFERRED = "preferred"
"""Attribute of a workflow that is held: the job on a better series of its study."""

WHY_PREFERRED = "why preferred"
"""Attribute of a workflow that is held: why the other series is better."""

NOT_CHOSEN = "not chosen"
"""Attribute of a workflow: why another series of its study has a result in its place."""

ASKED = "asked"
"""Attribute of a workflow: whether a person asked for another result of it."""

REFUSED_COPIES = "refused copies"
"""Attribute of a workflow: what other callers sent of its series while it came, and was refused."""

POSTPONED = "postponed"
"""Attribute of a workflow that waits for a gateway: why; empty once it goes on."""

AGAIN_S, TIMES = "again", "postponed times"
"""Attributes of such a workflow: when it is tried again, in seconds since 1970, and how often it
was tried."""

RECEIVED_BY = "received by"
"""Attribute of a workflow: the gateway to which its series came again, unchanged."""

MOVING = "moving"
"""Attribute of a cancelled workflow: it goes on in a moment, under another version of the steps."""

SENT = "sent"
"""Attribute of a delivery that begins anew under another version: the peer's answer to what the
version before has sent, so that it is not sent twice."""

QUEUE = "queue"
"""Attribute of a cancelled workflow: its queue, which DBOS forgets when it cancels."""

AWAIT_SEG = "await SEG"
"""Name of the step in which a report looks whether the SEG is delivered."""

ACTIVE = ("ENQUEUED", "PENDING")
"""States of a workflow that has not ended."""

SEG_PAUSES = Backoff(first_s=0.05, longest_s=600.0, give_up_s=30 * 86400.0)
"""Pauses between two looks at the delivery of a SEG; it usually takes a tenth of a second."""

DELIVERIES_AT_ONCE = 8
"""For each peer; a pausing delivery counts."""

Workflow = Callable[..., dict[str, Any]]
"""Takes the arguments that the store keeps: one task as JSON, or those of 0.1."""


class StoreFull(BaseException):
    """The store had no room for a step's result. No Exception: DBOS would record a failed workflow.

    It stays under way, and the watchdog queues it again once the store can be written.
    """


class NotedWorkflows:
    """Names of workflows, each for as long as a thread of this process notes it."""

    def __init__(self) -> None:
        # Counted: a workflow that is queued again may begin before its old thread has ended.
        self._names: Counter[str] = Counter()
        self.lock = threading.RLock()
        """While another thread holds it, none is noted."""

    def __contains__(self, name: object) -> bool:
        with self.lock:
            return self._names[str(name)] > 0

    @contextmanager
    def noted(self, name: str) -> Iterator[None]:
        """Note a workflow while the block lasts."""
        with self.lock:
            self._names[name] += 1
        try:
            yield
        finally:
            with self.lock:
                self._names[name] -= 1
                self._names += Counter()  # drops those at zero


class RunningWorkflows(NotedWorkflows):
    """Names of the workflows that threads of this process run now."""

    def listing(self, workflow: Workflow) -> Workflow:
        """Return the workflow, listed while it runs."""

        def listed(*arguments: Any) -> dict[str, Any]:
            with self.noted(str(DBOS.workflow_id)):
                try:
                    return workflow(*arguments)
                except Exception as error:  # any: it is only looked at, and raised all the same
                    if lacks_room(error):
                        raise StoreFull from error
                    raise

        return listed


class SeriesSteps(Protocol):
    """Runs the steps of series."""

    def segment(
        self, job: str, task: SeriesTask, *, urgent: bool, superseded: Sequence[Outcome]
    ) -> SegmentResult:
        """Segment a series and make its results, which take the place of `superseded`."""

    def failed(self, job: str, task: SeriesTask, reason: str) -> Sequence[DeliveryTask]:
        """Make the receipts of a series whose work failed."""


class DeliverySteps(Protocol):
    """Runs the steps of deliveries."""

    def deliver(self, task: DeliveryTask) -> SendAnswer:
        """Send a result once."""

    def confirm(self, task: DeliveryTask) -> ConfirmAnswer:
        """Ask the peer once whether it keeps a result."""

    def pauses(self) -> Iterator[float]:
        """Yield the seconds to wait after each failed attempt."""


def folder_of(executor: str) -> str:
    """Return the name of the data folder that an executor works in.

    A node that has it for itself bears its name; roles that share it are "<folder>/<member>".
    """
    return executor.partition("/")[0]


def here() -> str:
    """Return the name of the data folder that this process works in; its queues bear it."""
    return folder_of(str(DBOS.executor_id))


def segment_queue(node: str) -> str:
    """Return the queue on which a node's series wait; only that node has their files."""
    return f"{SEGMENT} on {node}"


def urgent_queue(node: str) -> str:
    """Return the queue on which a node's urgent series wait, so that no other delays them."""
    return f"{URGENT} on {node}"


def held_queue(node: str) -> str:
    """Return the queue on which series wait for others of their study; nothing takes from it."""
    return f"held on {node}"


def postponed_queue(node: str) -> str:
    """Return the queue of series that wait for a gateway; `fetched.postponed` takes from it."""
    return f"postponed on {node}"


def delivery_queue(peer: str, node: str) -> str:
    """Return the queue on which a node's deliveries to `peer` wait."""
    return f"{DELIVER} to {peer} on {node}"


def delivery_id(job: str, peer: str, item: str) -> str:
    """Return the workflow that delivers an object of a job."""
    return f"{job}-{peer}-{item}"


def queue_of(workflow: WorkflowStatus) -> str:
    """Return the queue on which a workflow waits, or waited."""
    return workflow.queue_name or str((workflow.attributes or {}).get(QUEUE, ""))


def attribute(workflow: WorkflowStatus, name: str) -> str:
    """Return an attribute of a workflow; empty where it has none."""
    return str((workflow.attributes or {}).get(name) or "")


def is_active(workflow: WorkflowStatus) -> bool:
    """Return whether a workflow has not ended."""
    return workflow.status in ACTIVE or is_moving(workflow)


def is_moving(workflow: WorkflowStatus) -> bool:
    """Return whether a workflow is cancelled for the moment in which its version changes."""
    return workflow.status == "CANCELLED" and bool((workflow.attributes or {}).get(MOVING))


def cancel(
    workflow: WorkflowStatus,
    attributes: Mapping[str, Any],
    store: type[DBOS] | DBOSClient = DBOS,
) -> None:
    """Cancel a workflow for a reason that its attributes state, so that it can be put back."""
    # An earlier reason to put it back does not hold any more.
    stated = {MOVING: False, **attributes, QUEUE: queue_of(workflow)}
    # Before it is cancelled: then DBOS has forgotten the queue.
    store.update_workflow_attributes(workflow.workflow_id, stated, merge=True)
    store.cancel_workflow(workflow.workflow_id)


def is_urgent(segment: WorkflowStatus) -> bool:
    """Return whether a segment workflow goes before all others."""
    if segment.attributes is None:  # 0.1 had no attribute, only the queue
        return (segment.queue_name or "").startswith(urgent_queue(""))
    return bool(segment.attributes.get(URGENT))


def register(
    series: SeriesSteps | None, deliveries: DeliverySteps, running: RunningWorkflows
) -> None:
    """Register the workflows with DBOS, which list themselves in `running`; before its launch.

    Without the steps of series only deliveries.
    """
    deliver = running.listing(_deliver_workflow(deliveries))
    deliver = DBOS.workflow(name=DELIVER, max_recovery_attempts=None)(deliver)
    if series is None:
        return
    segment = running.listing(_segment_workflow(series, deliver))
    # No limit of DBOS's: it would count a crash for whatever was under way. `CrashRecord` counts
    # it for the series that is to blame.
    DBOS.workflow(name=SEGMENT, max_recovery_attempts=None)(segment)


def _segment_workflow(steps: SeriesSteps, deliver: Workflow) -> Workflow:
    """Return the workflow that segments a series and queues its deliveries."""

    def segment(*arguments: Any) -> dict[str, Any]:
        task, job = SeriesTask.from_arguments(arguments), str(DBOS.workflow_id)
        try:
            stored = DBOS.run_step({"name": SEGMENT}, segment_step, job, task)
        # Whatever ended it: the job fails all the same, but not without its receipts.
        except Exception as error:
            if lacks_room(error):  # it does not fail: see StoreFull
                raise
            made = DBOS.run_step({"name": RECEIPT}, receipt_step, job, task, str(error))
            _queue_deliveries(deliver, job, task, [DeliveryTask.from_json(each) for each in made])
            raise
        _queue_deliveries(deliver, job, task, SegmentResult.from_json(stored).deliveries)
        return stored

    def segment_step(job: str, task: SeriesTask) -> dict[str, Any]:
        status = DBOS.get_workflow_status(job)  # read now: it may change while the job waits
        urgent = bool(status and is_urgent(status))
        superseded = [outcome for each in task.supersedes if (outcome := _outcome(each))]
        if status:
            asked = bool(attribute(status, ASKED))
            task = replace(task, not_chosen=attribute(status, NOT_CHOSEN), asked=asked)
        return steps.segment(job, task, urgent=urgent, superseded=superseded).to_json()

    def receipt_step(job: str, task: SeriesTask, reason: str) -> list[dict[str, Any]]:
        return [each.to_json() for each in steps.failed(job, task, reason)]

    return segment


def _queue_deliveries(
    deliver: Workflow, job: str, task: SeriesTask, made: Sequence[DeliveryTask]
) -> None:
    for each in made:
        # Derived, so that a replay finds the delivery that is queued already and starts no second
        # one.
        with SetWorkflowID(delivery_id(job, each.peer, each.item)):
            queue = delivery_queue(each.peer, here())
            after = delivery_id(job, each.peer, each.after) if each.after else ""
            delivery = replace(each, series_uid=task.series_uid, after=after)
            DBOS.enqueue_workflow(queue, deliver, delivery.to_json())


def _deliver_workflow(deliveries: DeliverySteps) -> Workflow:
    """Return the workflow that delivers one result to one peer."""

    def deliver(*arguments: Any) -> dict[str, Any]:
        task = DeliveryTask.from_arguments(arguments)
        if task.after:
            _wait_for(task.after)
        sends = count()
        steps = Steps(
            send=lambda: SendAnswer.from_json(
                DBOS.run_step({"name": SEND}, send_step, task, next(sends))
            ),
            confirm=lambda: ConfirmAnswer.from_json(
                DBOS.run_step({"name": CONFIRM}, confirm_step, task)
            ),
            pauses=deliveries.pauses,
            sleep=DBOS.sleep if is_of_0_1(arguments) else _pause,  # as its stored steps did
        )
        return asdict(deliver_object(task.peer, steps))

    def send_step(task: DeliveryTask, number: int) -> dict[str, Any]:
        # Only in place of the first: what the peer has lost by then is sent once more.
        return (_sent_before() if number == 0 else None) or deliveries.deliver(task).to_json()

    def confirm_step(task: DeliveryTask) -> dict[str, Any]:
        return deliveries.confirm(task).to_json()

    return deliver


def _pause(seconds: float) -> None:
    """Wait until the pause is over, or a person asks for the next attempt at once.

    It is durable: a restart waits for what is left.
    """
    DBOS.recv(NOW, timeout_seconds=seconds)


def _sent_before() -> dict[str, Any] | None:
    """Return the answer to what this delivery has sent under another version of the steps."""
    status = DBOS.get_workflow_status(str(DBOS.workflow_id))
    return (status.attributes or {}).get(SENT) or None if status else None


def _outcome(job: str) -> Outcome | None:
    status = DBOS.get_workflow_status(job)
    return SegmentResult.from_json(status.output).outcome if status and status.output else None


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
        # Durable, unlike time.sleep: a restart does not begin the pause anew.
        DBOS.sleep(pause)
    raise PeerRefused("not sent: the SEG that it refers to was not delivered in time")


def _status(workflow: str) -> str:
    found = DBOS.get_workflow_status(workflow)
    if found and is_moving(found):
        return "ENQUEUED"
    return found.status if found else "absent"
