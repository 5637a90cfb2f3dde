"""Which process works on a job, by DBOS's row of it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import Engine, Text, column, select, table
from sqlalchemy.engine import Connection

from dicom_node.cluster.fenced_worker import taken_over

workflows = table(
    "workflow_status",
    column("workflow_uuid", Text),
    column("status", Text),
    column("executor_id", Text),
    schema="dbos",
)
"""DBOS's table of workflows, as far as it is needed here."""

Owned = Callable[[str, str], AbstractContextManager[None]]
"""Keeps a job, by its name, with a process, by `Member.executor`, while a block lasts; raises
TakenOver where another one has it."""


def owned_in(engine: Engine) -> Owned:
    """Return what keeps jobs with processes in a database."""

    @contextmanager
    def owned(job: str, executor: str) -> Iterator[None]:
        with engine.begin() as connection:
            keep_owned(connection, job, executor)
            yield

    return owned


def keep_owned(connection: Connection, job: str, executor: str) -> None:
    """Return if DBOS has a process at work on a job, and keep it so until the transaction ends.

    Raises:
        TakenOver: it has not.
    """
    mine = workflows.c.status == "PENDING", workflows.c.executor_id == executor
    # As DBOS locks it: who takes the job over changes this row.
    owned = select(workflows.c.workflow_uuid).where(workflows.c.workflow_uuid == job, *mine)
    if connection.scalar(owned.with_for_update(key_share=True)) is None:
        raise taken_over(job)
