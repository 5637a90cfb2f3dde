"""Requests of gateways, which workers carry out: a job is done again, or forgotten.

Both remove what workers have recorded, which the role of a gateway in PostgreSQL may not. So it
notes at the job what it asks for, and of which run of the job.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dbos import DBOS, WorkflowStatus

from dicom_node.error_location import unforeseen
from dicom_node.jobs.ledger import Ledger, open_ledger
from dicom_node.jobs.state import Job
from dicom_node.jobs.workflows import SEGMENT, attribute
from dicom_node.rounds import repeated

logger = logging.getLogger(__name__)

REQUEST = "request"
"""Attribute of a workflow: what a gateway asks for; empty once it is done."""

OF_RUN = "request of run"
"""Attribute of a workflow: the run after which it was asked for, as `_run` names it."""

REDO, FORGET = "redo", "forget"

ROUND_S = 2.0
"""Seconds between two looks for requests."""


def ask_for_redo(job: Job) -> None:
    """Ask the workers to do a job again that has ended, or that is held."""
    _ask(job, REDO)


def ask_to_forget(job: Job) -> None:
    """Ask the workers to take a job off the list, whose files are gone."""
    _ask(job, FORGET)


def _ask(job: Job, request: str) -> None:
    DBOS.update_workflow_attributes(job.id, {REQUEST: request, OF_RUN: _run(job)}, merge=True)


def _run(job: Job) -> str:
    """Return the name of a job's last run: the moment of its end, and before it the job's state."""
    return job.finished.isoformat() if job.finished else job.state


@dataclass(frozen=True)
class Requests:
    """Carries out the requests of gateways."""

    database_url: str
    rows: timedelta
    """How long jobs are listed after their end (`Retention.rows`)."""
    forget_numbers: Callable[[set[str]], None] = lambda studies: None
    """Forgets the Series Numbers of studies of which no job is left."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def round(self) -> None:
        """Look for requests once."""
        redo, forget = _requested(REDO), _requested(FORGET)
        if not redo and not forget:
            return
        with open_ledger(self.database_url) as ledger:
            for each in redo:
                _redo(ledger, each)
            self._forget(ledger, forget)

    def _forget(self, ledger: Ledger, asked: Sequence[WorkflowStatus]) -> None:
        before = self.clock() - self.rows
        forgotten = []
        for job in (ledger.find(each.workflow_id) for each in asked):
            # A gateway is not believed: what has not been kept for long enough stays.
            if job.finished is not None and job.finished < before:
                ledger.forget(job)
                forgotten.append(job)
                _log("forgotten", job)
        if forgotten:
            left = {job.study_uid for job in ledger.jobs()}
            self.forget_numbers({job.study_uid for job in forgotten} - left)


def _requested(request: str) -> list[WorkflowStatus]:
    return DBOS.list_workflows(
        name=SEGMENT, attributes={REQUEST: request}, load_input=False, load_output=False
    )


def _redo(ledger: Ledger, asked: WorkflowStatus) -> None:
    job = ledger.find(asked.workflow_id)
    # Otherwise it is done again already: a crash came between the two steps below.
    if attribute(asked, OF_RUN) == _run(job) and ledger.redo(job):
        _log("a person asked for it: done again", job)
    DBOS.update_workflow_attributes(job.id, {REQUEST: ""}, merge=True)


def _log(words: str, job: Job) -> None:
    logger.info(words, extra={"action": "request", "job": job.id, "series": job.series_uid})


@contextmanager
def carrying_out(
    requests: Requests, alone: Callable[[], AbstractContextManager[bool]]
) -> Iterator[None]:
    """Carry out requests while the block lasts, in rounds in which this process is `alone`."""

    def run() -> None:
        try:
            with alone() as is_alone:
                if is_alone:
                    requests.round()
        # The edge of a thread, which must not end: the store may be away, and DBOS passes on
        # whatever its driver raises. The next round looks again.
        except Exception as error:
            logger.warning("requests: %s", unforeseen(error), extra={"action": "request"})

    with repeated(run, ROUND_S, "requests", first_s=ROUND_S):
        yield
