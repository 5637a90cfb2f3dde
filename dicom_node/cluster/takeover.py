"""Take over what a process of the cluster had under way when it died.

DBOS gives the work of a dead process only to one of its name. Here its heartbeat decides: what is
under way at a process without one goes back to its queue, from which any worker takes it.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dbos import DBOS
from sqlalchemy import Engine, func, select

from dicom_node.cluster import membership as heartbeats
from dicom_node.cluster.membership import Membership
from dicom_node.error_location import unforeseen
from dicom_node.jobs.workflows import DELIVER, SEGMENT, queue_of
from dicom_node.rounds import repeated

logger = logging.getLogger(__name__)

ROUND_S = 5.0
"""Seconds between two looks at the heartbeats of others."""


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


@contextmanager
def alone(engine: Engine, name: str) -> Iterator[bool]:
    """Hold a lock of this name while the block lasts; yields False where another process does."""
    with engine.begin() as connection:
        locked = func.pg_try_advisory_xact_lock(func.hashtextextended(name, 0))
        yield bool(connection.scalar(select(locked)))


@contextmanager
def taking_over(membership: Membership) -> Iterator[None]:
    """Look after dead processes while the block lasts."""
    with repeated(TakeOver(membership).round, ROUND_S, "take-over", first_s=ROUND_S):
        yield
