"""What releases with other steps have queued, given to workers of this one.

DBOS gives work only to workers of the version that queued it. What waits and has no worker of its
version any more is moved to a newer one under the same name: cancelled, rewound, and queued again
where it was. A series whose segmentation has ended is not computed again, and an object that a peer
has accepted is not sent again; all else begins anew, with the deliveries that are there already.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dbos import DBOS, DBOSClient, WorkflowStatus
from dbos import error as dbos_error

from dicom_node.counted import counted
from dicom_node.deliver.attempts import SendAnswer
from dicom_node.error_location import unforeseen
from dicom_node.jobs.dbos_runtime import APPLICATION
from dicom_node.jobs.workflows import (
    DELIVER,
    MOVING,
    SEGMENT,
    SEND,
    SENT,
    STEPS_VERSION,
    cancel,
    held_queue,
    here,
    is_moving,
    postponed_queue,
    queue_of,
)
from dicom_node.rounds import repeated

logger = logging.getLogger(__name__)

ROUND_S = 5.0
"""Seconds between two looks at what waits under other versions."""

MOST = 1000
"""Waiting workflows that are counted."""

KINDS = SEGMENT, DELIVER
"""Names of the workflows that are moved."""

Served = Mapping[str, Collection[int]]
"""For each kind of work the steps, by their numbers, of the processes that take it."""

Wanted = Callable[[int], bool]
"""Returns whether work is wanted whose steps have this number."""


def steps_number(version: str | None) -> int:
    """Return the number of a version: 2 of "2", and of "2 on <folder>" where stores are shared."""
    head = (version or "").partition(" ")[0]
    return int(head) if head.isdecimal() else 0


OF_THIS_RELEASE: Served = {kind: (steps_number(STEPS_VERSION),) for kind in KINDS}
"""What a node takes that is all roles in one process."""


def older_unserved(version: str, served: Collection[int]) -> Wanted:
    """Return what workers of a version may take: older work that has no worker any more.

    Newer work has arguments that they may not understand.
    """
    mine = steps_number(version)
    return lambda number: number == mine or (number < mine and number not in served)


def newer(served: Collection[int]) -> Wanted:
    """Return what waits for a worker that is newer than all there are; nothing where none is."""
    return lambda number: bool(served) and number > max(served)


@dataclass(frozen=True)
class QueuedWork:
    """What waits on the queues of one data folder."""

    store: type[DBOS] | DBOSClient
    folder: str
    finds_attributes: bool = False
    """Whether the store finds workflows by an attribute; SQLite does not."""

    def waiting(
        self, kind: str, wanted: Wanted, but: str = "", limit: int | None = None
    ) -> list[WorkflowStatus]:
        """Return workflows of a kind that wait under wanted versions, the oldest first.

        Args:
            kind: one of `KINDS`.
            wanted: as above.
            but: a version that is left out.
            limit: most workflows to look at.
        """
        known = {each["version_name"] for each in self.store.list_application_versions()}
        # `hepar jobs send` queues under "2" what is taken under "2 on <folder>".
        known |= {each.partition(" ")[0] for each in known}
        versions = [each for each in known if each != but and wanted(steps_number(each))]
        if not versions:
            return []
        found = self.store.list_workflows(
            name=kind,
            status="ENQUEUED",
            app_version=versions,
            limit=limit,
            load_input=False,
            load_output=False,
        )
        return [each for each in found if self._is_queued_here(each)]

    def version(self, number: int) -> str:
        """Return the version with a number that workers of this folder have."""
        mine = f"{APPLICATION}-{self.folder}"
        found = self.store.list_application_versions()
        names = [each["version_name"] for each in found if each["application_name"] == mine]
        return next((each for each in names if steps_number(each) == number), str(number))

    def interrupted(self) -> list[WorkflowStatus]:
        """Return workflows whose move was broken off, as when its process died."""
        found = self.store.list_workflows(
            name=list(KINDS),
            status="CANCELLED",
            attributes={MOVING: True} if self.finds_attributes else None,
            load_input=False,
            load_output=False,
        )
        return [each for each in found if is_moving(each) and self._is_queued_here(each)]

    def _is_queued_here(self, workflow: WorkflowStatus) -> bool:
        queue = queue_of(workflow)
        # What is held or postponed is moved once it is let go.
        aside = held_queue(self.folder), postponed_queue(self.folder)
        return queue.endswith(f" on {self.folder}") and queue not in aside

    def move(self, workflow: WorkflowStatus, version: str) -> bool:
        """Queue a workflow under a version; return whether this did it.

        A crash in between leaves it to `finish`.
        """
        sent = self._sent(workflow) if workflow.name == DELIVER else None
        cancel(workflow, {MOVING: True, SENT: sent}, self.store)
        return self.finish(workflow.workflow_id, version)

    def finish(self, name: str, version: str) -> bool:
        """Queue under a version what was cancelled for that; return whether this did it."""
        found = self._status(name)
        # It may have ended before it was cancelled, or its series came again changed.
        if found is None or not is_moving(found):
            return False
        queue = queue_of(found)
        try:
            self.store.rewind_workflow(
                name,
                start_step=self._first_step(found),
                application_version=version,
                queue_name=queue,
            )
        except dbos_error.DBOSException:  # a person has queued it meanwhile: the next round looks
            return False
        self._let_go(name)
        logger.info(
            "queued again: it waited for a worker of steps %s, now %s",
            found.app_version,
            version,
            extra={"action": "move", "job": name},
        )
        return True

    def _let_go(self, name: str) -> None:
        """Note that a move has ended; cancel again what was cancelled for good meanwhile."""
        if (found := self._status(name)) is None:
            return
        if (found.attributes or {}).get(MOVING):
            self.store.update_workflow_attributes(name, {MOVING: False}, merge=True)
        else:
            cancel(found, {}, self.store)

    def _status(self, name: str) -> WorkflowStatus | None:
        found = self.store.list_workflows(workflow_ids=[name], load_input=False, load_output=False)
        return found[0] if found else None

    def _first_step(self, workflow: WorkflowStatus) -> int:
        """Return the step that a workflow begins with: after a segmentation that has ended."""
        if workflow.name != SEGMENT:
            return 1
        steps = self.store.list_workflow_steps(workflow.workflow_id, limit=1)
        done = bool(steps) and steps[0]["function_name"] == SEGMENT
        return int(steps[0]["function_id"]) + 1 if done else 1

    def _sent(self, delivery: WorkflowStatus) -> dict[str, Any] | None:
        """Return the peer's answer to what a delivery has sent; None unless it was accepted."""
        steps = self.store.list_workflow_steps(delivery.workflow_id)
        answers = [each["output"] for each in steps if each["function_name"] == SEND]
        if not answers:  # it may have been moved before, and not begun since
            return (delivery.attributes or {}).get(SENT) or None
        accepted = answers[-1] and not SendAnswer.from_json(answers[-1]).refused
        return answers[-1] if accepted else None


def take_older(work: QueuedWork, version: str, served: Collection[int], kind: str) -> None:
    """Move what waits under older versions that have no worker any more to a version."""
    for each in work.waiting(kind, older_unserved(version, served), but=version):
        work.move(each, version)


def finish_interrupted(work: QueuedWork, version: str) -> None:
    """End the moves that were broken off."""
    for each in work.interrupted():
        work.finish(each.workflow_id, version)


def waiting_for_newer(work: QueuedWork, served: Served) -> str:
    """Return that work waits for a worker newer than all there are, and the remedy; or nothing."""
    found = [
        each for kind in served for each in work.waiting(kind, newer(served[kind]), limit=MOST)
    ]
    counts = Counter((steps_number(each.app_version), each.name) for each in found)
    return "; ".join(
        f"{counted(counts[steps, SEGMENT], 'job')} and {_deliveries(counts[steps, DELIVER])}"
        f" wait for a worker of steps {steps}: start one, or let those that run take them by"
        " `hepar jobs move`"
        for steps in sorted({steps for steps, _ in counts})
    )


def _deliveries(count: int) -> str:
    return f"{count} delivery" if count == 1 else f"{count} deliveries"


def give_to_older(work: QueuedWork, served: Served) -> list[str]:
    """Move what waits for a newer worker to the newest that there is; return what was moved."""
    moved = []
    for each in work.interrupted():  # of this command, too
        if (numbers := served[each.name]) and work.finish(
            each.workflow_id, work.version(max(numbers))
        ):
            moved.append(each.workflow_id)
    for kind, numbers in served.items():
        for each in work.waiting(kind, newer(numbers)):
            if work.move(each, work.version(max(numbers))):
                moved.append(each.workflow_id)
    return moved


def queue_left_over(version: str) -> None:
    """Queue again what a process of this one's name had under way under another version.

    DBOS does so at its start with what is of its own version.
    """
    for each in DBOS.list_workflows(
        name=list(KINDS), status="PENDING", executor_id=DBOS.executor_id
    ):
        if each.app_version != version:
            DBOS.resume_workflow(each.workflow_id, queue_name=queue_of(each))


@contextmanager
def taking_older() -> Iterator[None]:
    """Take what older releases have queued in this folder, and nobody else works in, in a block."""
    version, work = str(DBOS.application_version), QueuedWork(DBOS, here())
    begun = False

    def run() -> None:
        nonlocal begun
        try:
            if not begun:  # what is broken off later is a command's, and ended by its repetition
                finish_interrupted(work, version)
                queue_left_over(version)
            for kind in KINDS:
                take_older(work, version, (), kind)
            begun = True
        # The edge of a thread, which must not end: the store may be full or away, and DBOS passes
        # on whatever its driver raises. The next round looks again.
        except Exception as error:
            begun = False
            logger.warning("not moved: %s", unforeseen(error), extra={"action": "move"})

    with repeated(run, ROUND_S, "other steps"):
        yield
