"""Take over what a process of the cluster had under way when it died.

DBOS gives the work of a dead process only to one of its name. Here its heartbeat decides: what is
under way at a process without one goes back to its queue, from which any worker takes it. What
waits for workers with older steps goes to those with newer ones once no older one takes work.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dbos import DBOS
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.cluster import membership as heartbeats
from dicom_node.cluster.membership import Duty, Member, Membership, SeenMember
from dicom_node.error_location import unforeseen
from dicom_node.jobs.other_steps import (
    QueuedWork,
    finish_interrupted,
    queue_left_over,
    steps_number,
    take_older,
)
from dicom_node.jobs.workflows import DELIVER, SEGMENT, queue_of
from dicom_node.rounds import repeated

logger = logging.getLogger(__name__)

ROUND_S = 5.0
"""Seconds between two looks at the heartbeats of others."""
WORKER, DELIVERER = "work", "deliver"
"""Roles, as their commands name them."""


@dataclass
class TakeOver:
    """Rounds in which one worker looks after the dead."""

    membership: Membership
    clock: Callable[[], float] = time.monotonic
    _seen_since_s: float | None = None
    """Since when the heartbeats could be read in each round."""

    def round(self) -> None:
        """Queue again what dead processes had under way, once heartbeats were seen long enough.

        After an outage of the store every process would count as dead, until its next heartbeat.
        """
        try:
            dead = [each.member for each in self.membership.all() if not each.alive]
            now_s = self.clock()
            self._seen_since_s = now_s if self._seen_since_s is None else self._seen_since_s
            if dead and now_s - self._seen_since_s >= heartbeats.DEAD_S:
                self._take_over()
        # The edge of a thread, which must not end: the store may be away, and DBOS passes on
        # whatever its driver raises. The next round looks again.
        except Exception as error:
            self._seen_since_s = None
            logger.warning("take-over: %s", unforeseen(error), extra={"action": "take_over"})

    def _take_over(self) -> None:
        """Queue again what dead processes had under way; one process does this at a time."""
        name = f"take over in {self.membership.folder}"
        with alone(self.membership.engine, name) as is_alone:
            # Read once more: the one that held the lock before may have done it.
            found = self.membership.all() if is_alone else []
            for dead in (each.member for each in found if not each.alive):
                under_way = DBOS.list_workflows(
                    name=[SEGMENT, DELIVER], status="PENDING", executor_id=dead.executor
                )
                for each in under_way:
                    DBOS.resume_workflow(each.workflow_id, queue_name=queue_of(each))
                    extra = {"action": "take_over", "job": each.workflow_id}
                    logger.warning("queued again: %s died, or is cut off", dead.name, extra=extra)


def served(found: Iterable[SeenMember], *, apart: bool) -> dict[str, set[int]]:
    """Return the steps of the processes that take work, by their numbers, for each kind of it.

    Args:
        found: processes of the cluster.
        apart: whether workers leave the deliveries to deliverers.
    """
    takes = {SEGMENT: [WORKER], DELIVER: [DELIVERER] if apart else [WORKER, DELIVERER]}
    taking = [each for each in found if each.duty is Duty.TAKING]
    return {
        kind: {steps_number(each.steps) for each in taking if each.member.role in roles}
        for kind, roles in takes.items()
    }


@dataclass
class OlderWork:
    """Rounds in which one worker takes what waits for workers with older steps."""

    membership: Membership
    version: str
    """Of the steps of this process."""
    apart: bool = False
    """Whether workers leave the deliveries to deliverers."""
    clock: Callable[[], float] = time.monotonic
    _seen_since_s: float | None = None
    _begun: bool = False

    def round(self) -> None:
        """Queue under this version what waits under older ones that no process takes work of."""
        try:
            if not self._begun:
                queue_left_over(self.version)
                self._begun = True
            self._move()
        # The edge of a thread, as above.
        except Exception as error:
            self._seen_since_s = None
            logger.warning("not moved: %s", unforeseen(error), extra={"action": "move"})

    def _move(self) -> None:
        now_s = self.clock()
        self._seen_since_s = now_s if self._seen_since_s is None else self._seen_since_s
        # After an outage of the store every process would count as dead.
        patient = now_s - self._seen_since_s >= heartbeats.DEAD_S
        found = [each for each in self.membership.all() if each.alive or not patient]
        work = QueuedWork(DBOS, self.membership.folder, finds_attributes=True)
        with alone(self.membership.engine, moves_in(self.membership.folder)) as is_alone:
            if not is_alone:
                return
            finish_interrupted(work, self.version)
            for kind, numbers in served(found, apart=self.apart).items():
                # A process that is drained, or takes other work, gives nothing to its version.
                if steps_number(self.version) in numbers:
                    take_older(work, self.version, numbers, kind)


def moves_in(folder: str) -> str:
    """Return the name of the lock under which one process of a folder moves work."""
    return f"move in {folder}"


@contextmanager
def alone(engine: Engine, name: str) -> Iterator[bool]:
    """Hold a lock of this name while the block lasts; yields False where another process does."""
    with engine.begin() as connection:
        locked = func.pg_try_advisory_xact_lock(func.hashtextextended(name, 0))
        yield bool(connection.scalar(select(locked)))


@contextmanager
def taking_over(membership: Membership, me: Member, *, apart: bool) -> Iterator[None]:
    """Look after dead processes, and what waits for older ones, while the block lasts.

    Args:
        membership: the processes of the cluster.
        me: this one, which works with the steps of its `DBOS`.
        apart: whether workers leave the deliveries to deliverers.
    """
    version = str(DBOS.application_version)
    membership.note_steps(me, version)
    dead, older = TakeOver(membership), OlderWork(membership, version, apart)

    def run() -> None:
        dead.round()
        # Deliverers lack the right to drop what a job has done; workers move deliveries, too.
        if me.role == WORKER:
            older.round()

    with repeated(run, ROUND_S, "take-over", first_s=ROUND_S):
        yield
    try:
        membership.forget_steps(me)
    except SQLAlchemyError as error:  # the row counts for no other process
        reason = type(error).__name__
        logger.warning("steps not forgotten: %s", reason, extra={"action": "move"})
