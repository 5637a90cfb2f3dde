"""Jobs that wait for a gateway which is away: put aside, and tried again after a pause.

They lie on a queue that nobody takes from, so that they hold up no job of another gateway.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from dbos import DBOS
from sqlalchemy import Engine

from dicom_node.cluster.takeover import alone
from dicom_node.error_location import unforeseen
from dicom_node.errors import GatewayAway
from dicom_node.jobs.backoff import Backoff
from dicom_node.jobs.workflows import (
    AGAIN_S,
    POSTPONED,
    SEGMENT,
    TIMES,
    here,
    is_urgent,
    postponed_queue,
    segment_queue,
    urgent_queue,
)
from dicom_node.rounds import repeated

logger = logging.getLogger(__name__)

ROUND_S = 1.0
"""Seconds between two looks at the jobs that were put aside."""


class Postponed(BaseException):
    """The job was put aside. No Exception: DBOS would record a failed workflow."""


@dataclass(frozen=True)
class Postponement:
    """Puts jobs aside."""

    backoff: Backoff
    clock: Callable[[], float] = time.time
    """Seconds since 1970."""

    def postpone(self, job: str, error: GatewayAway) -> NoReturn:
        """Put aside a job that this process works on.

        Raises:
            Postponed: always.
        """
        status = DBOS.get_workflow_status(job)
        before = status.attributes if status else None
        times = int((before or {}).get(TIMES) or 0) + 1
        pause_s = self.backoff.after(times)
        noted = {POSTPONED: str(error), AGAIN_S: self.clock() + pause_s, TIMES: times}
        DBOS.update_workflow_attributes(job, noted, merge=True)
        DBOS.resume_workflow(job, queue_name=postponed_queue(here()))
        extra = {"action": "postpone", "job": job}
        logger.warning("tried again in %g s: %s", pause_s, error, extra=extra)
        raise Postponed(job)


def forget_postponement(job: str) -> None:
    """Let the next pause of a job be the first again, and no reason be shown."""
    status = DBOS.get_workflow_status(job)
    if status and (status.attributes or {}).get(TIMES):
        DBOS.update_workflow_attributes(job, {POSTPONED: "", TIMES: 0}, merge=True)


def queue_due_jobs(now_s: float) -> None:
    """Queue again the jobs whose pause is over."""
    node = here()
    for each in DBOS.list_workflows(
        name=SEGMENT, status="ENQUEUED", queue_name=postponed_queue(node)
    ):
        if float((each.attributes or {}).get(AGAIN_S) or 0) <= now_s:
            queue = urgent_queue if is_urgent(each) else segment_queue
            DBOS.resume_workflow(each.workflow_id, queue_name=queue(node))


@contextmanager
def queueing_again(engine: Engine, cluster: str) -> Iterator[None]:
    """Queue again what was put aside, while the block lasts; one process does it at a time."""

    def run() -> None:
        try:
            with alone(engine, f"postponed in {cluster}") as is_alone:
                if is_alone:
                    queue_due_jobs(time.time())
        # The edge of a thread, which must not end: the store may be away, and DBOS passes on
        # whatever its driver raises. The next round looks again.
        except Exception as error:
            logger.warning("postponed: %s", unforeseen(error), extra={"action": "postpone"})

    with repeated(run, ROUND_S, "postponed", first_s=ROUND_S):
        yield
