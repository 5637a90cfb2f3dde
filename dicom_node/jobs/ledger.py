"""Read jobs from the workflow store, and put them back to work, with or without a running node."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from dbos import DBOSClient, DBOSPortableJSONSerializer, WorkflowStatus
from sqlalchemy import make_url

from dicom_node.errors import UnknownJob
from dicom_node.jobs.other_steps import QueuedWork
from dicom_node.jobs.records import DeliveryTask
from dicom_node.jobs.state import Delivery, Job, State, to_job
from dicom_node.jobs.store import connectable, faults_named
from dicom_node.jobs.workflows import (
    ASKED,
    CONFIRM,
    DELIVER,
    NOT_CHOSEN,
    NOW,
    PAUSE,
    SEGMENT,
    SEND,
    SENT,
    STEPS_VERSION,
    URGENT,
    delivery_id,
    delivery_queue,
    segment_queue,
    urgent_queue,
)

JOB = "job"
"""Attribute of a delivery that a person asked for: it is no child of its job's workflow."""

STATEMENT = 500
"""Workflows that one statement names; databases limit its variables."""


class Ledger:
    """The jobs in the workflow store."""

    def __init__(self, client: DBOSClient) -> None:
        self._client = client

    def jobs(self, last: int | None = None) -> list[Job]:
        """Return every job, or the `last` of them, the oldest first."""
        newest_first = self._client.list_workflows(name=SEGMENT, limit=last, sort_desc=True)
        # Asked for newest first, as `limit` counts from the beginning.
        return self._read(newest_first[::-1])

    def find(self, name: str) -> Job:
        """Return the job whose id, or series UID, is or begins with `name`.

        Raises:
            UnknownJob: there is none, or more than one.
        """
        found = self._client.list_workflows(name=SEGMENT, workflow_id_prefix=name)
        exact = [each for each in found if each.workflow_id == name]  # "a" is no part of "a-2"
        jobs = self._read(exact or found) or [j for j in self.jobs() if j.series_uid == name]
        if len(jobs) != 1:
            count = len(jobs) or "no"
            raise UnknownJob(f"{count} jobs match {name!r}; `hepar jobs list` shows them all")
        return jobs[0]

    def last_refusal(self, delivery: Delivery) -> str:
        """Return why the last step of a delivery did not succeed; empty if it did."""
        steps = self._client.list_workflow_steps(delivery.id)
        outputs = [each["output"] for each in steps if each["function_name"] in (SEND, CONFIRM)]
        return str(outputs[-1]["refused"]) if outputs and outputs[-1] else ""

    def next_attempt(self, delivery: Delivery) -> datetime | None:
        """Return when a delivery that pauses will be tried again; None if it does not pause."""
        if delivery.state is not State.DELIVERING:
            return None
        steps = self._client.list_workflow_steps(delivery.id)
        due = steps[-1]["output"] if steps and steps[-1]["function_name"] == PAUSE else None
        return datetime.fromtimestamp(float(due), UTC) if due else None

    def hasten(self, delivery: Delivery) -> None:
        """End the pause of a delivery: its next attempt begins at once."""
        # That it comes is the message; the value is not looked at.
        self._client.send(delivery.id, True, NOW)

    def redo(self, job: Job) -> bool:
        """Segment a series anew and deliver its results again, also one that was not chosen.

        The usual model does it, whatever waits. Return whether there was anything to do; one that
        is held begins now.
        """
        if job.state is State.HELD:
            self._client.resume_workflow(job.id, queue_name=segment_queue(job.node))
            return True
        if job.state.active:
            return False
        self._choose(job)
        self._client.update_workflow_attributes(job.id, {ASKED: True}, merge=True)
        for each in job.deliveries:  # or the workflow would find them and start none
            self._client.delete_workflow(each.id)
        self._client.rewind_workflow(job.id, queue_name=job.queue)
        return True

    def send(self, job: Job, tasks: Sequence[DeliveryTask]) -> list[str]:
        """Deliver results again, or to a further peer; return the deliveries that this starts."""
        known = {(each.peer, each.item): each for each in job.deliveries}
        node = job.node
        begun = []
        for task in tasks:
            before = known.get((task.peer, task.item))
            if before and before.state.active:
                continue
            if before:
                self._again(before)
            else:
                self._enqueue(job, task, node)
            begun.append(before.to if before else f"{task.peer} ({task.item})")
        return begun

    def _enqueue(self, job: Job, task: DeliveryTask, node: str) -> None:
        after = delivery_id(job.id, task.peer, task.after) if task.after else ""
        self._client.enqueue(
            {
                "workflow_name": DELIVER,
                "queue_name": delivery_queue(task.peer, node),
                "workflow_id": delivery_id(job.id, task.peer, task.item),
                "app_version": STEPS_VERSION,
                "attributes": {JOB: job.id},
            },
            replace(task, after=after).to_json(),
        )

    def retry(self, job: Job, peer: str = "") -> list[str]:
        """Put back to work what failed, was refused or made no result; return what that is.

        Args:
            job: the job.
            peer: only deliveries to it; empty: everything.
        """
        if peer:
            return self._retry([each for each in job.deliveries if each.peer == peer])
        again = State.NOTHING_FOUND, State.NOT_SELECTED, State.REFUSED
        # A job that failed with an outcome failed in a delivery: its results are there.
        if job.state in again or (job.state is State.FAILED and job.outcome is None):
            self._choose(job)
            self._client.rewind_workflow(job.id, queue_name=job.queue)
            return ["segment"]
        return self._retry(job.deliveries)

    def _choose(self, job: Job) -> None:
        """Let a person's wish outweigh the choice of another series of the study."""
        self._client.update_workflow_attributes(job.id, {NOT_CHOSEN: ""}, merge=True)

    def _retry(self, deliveries: Sequence[Delivery]) -> list[str]:
        failed = [each for each in deliveries if each.state is State.FAILED]
        for delivery in failed:
            self._again(delivery)
        return [f"deliver to {each.to}" for each in failed]

    def _again(self, delivery: Delivery) -> None:
        """Begin a delivery anew, and send what it has sent before once more."""
        self._client.update_workflow_attributes(delivery.id, {SENT: None}, merge=True)
        self._client.rewind_workflow(delivery.id, queue_name=delivery.queue)

    def urge(self, job: Job) -> bool:
        """Let a waiting job go before all others; return whether it was still waiting.

        One that begins in this very moment is worked on twice, and both make the same objects.
        """
        if job.state not in (State.HELD, State.WAITING) or job.urgent:
            return False
        node = job.node
        # Before it is queued: the step reads the attribute when it begins.
        self._client.update_workflow_attributes(job.id, {URGENT: True}, merge=True)
        self._client.resume_workflow(job.id, queue_name=urgent_queue(node))
        return True

    def queued(self, folder: str) -> QueuedWork:
        """Return what waits on the queues of a data folder."""
        return QueuedWork(self._client, folder)

    def forget(self, job: Job) -> None:
        """Forget a job that has ended; removing its files is left to the caller."""
        for each in job.deliveries:  # one to a further peer is no child
            self._client.delete_workflow(each.id)
        self._client.delete_workflow(job.id, delete_children=True)

    def _read(self, segments: Sequence[WorkflowStatus]) -> list[Job]:
        children: dict[str, list[WorkflowStatus]] = defaultdict(list)
        for some in batched([each.workflow_id for each in segments], STATEMENT):
            for child in self._client.list_workflows(name=DELIVER, parent_workflow_id=some):
                children[str(child.parent_workflow_id)].append(child)
        for child in self._client.list_workflows(name=DELIVER, has_parent=False):
            children[str((child.attributes or {}).get(JOB))].append(child)
        return [to_job(each, children[each.workflow_id]) for each in segments]


def batched(words: Sequence[str], size: int) -> Iterator[list[str]]:
    """Yield `words` in runs of at most `size`."""
    for start in range(0, len(words), size):
        yield list(words[start : start + size])


@contextmanager
def open_ledger(database_url: str) -> Iterator[Ledger]:
    """Open the workflow store for reading, beside a running node or without one.

    Raises:
        UnknownJob: no node has ever run here.
        StoreUnusable: the store is damaged, locked or away, now or while the block lasts.
    """
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        raise UnknownJob(
            f"there are no jobs yet: {url.database} does not exist; start `hepar serve`, or name"
            " the configuration of the node that runs (--config)"
        )
    with faults_named(database_url):
        client = DBOSClient(
            system_database_url=connectable(database_url),
            serializer=DBOSPortableJSONSerializer(),
            # A command that waits for a store which is away would seem to hang.
            retry_connection_errors=False,
        )
        try:
            yield Ledger(client)
        finally:
            client.destroy()
