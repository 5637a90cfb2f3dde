"""Epochs: each run of a job writes into a folder of its own, and PostgreSQL decides which counts.

A process may be stopped, or cut off, between its look at the store and its write, for however long.
What it writes then lies in the folder of an older epoch, which no result and no delivery names.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sqlalchemy import ColumnElement, Engine, and_, delete, exists, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from dicom_node.cluster.fenced_worker import taken_over
from dicom_node.cluster.ownership import keep_owned, workflows
from dicom_node.cluster.tables import epoch_numbers, epochs
from dicom_node.data_folder import DataFolder
from dicom_node.rounds import repeated
from engine.durable_files import make_folder_durably, write_durably

logger = logging.getLogger(__name__)

AGAIN_S = 1.0
"""Seconds until a store that is away is asked again."""

FORGET_S = 600.0
"""Seconds between two looks for jobs that were removed."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Epochs:
    """The runs of jobs by one process of those that share a folder."""

    engine: Engine
    data: DataFolder
    folder: str
    """Name of the folder."""
    executor: str
    """`Member.executor` of the process."""

    @contextmanager
    def place(self, job: str) -> Iterator[Path]:
        """Yield the file for the SEG of a new run; commit the run once the block has ended.

        The folder holds what the run before has made, if that was a whole one: the same work done
        again leaves the object that it made before (`keep_or_write`).

        Raises:
            TakenOver: another process has the job, or another run of it has begun.
        """
        epoch, before = _once_there(lambda: self._begin(job))
        folder = self.data.run(job, epoch)
        make_folder_durably(folder)
        # `hepar serve` has written into the folder of results itself.
        last = self.data.run(job, before) if before else self.data.results
        for each in self.data.results_of(job, last):
            write_durably(folder / each.name, each.read_bytes())
        yield folder / f"{job}.dcm"
        _once_there(lambda: self._commit(job, epoch))

    def forget(self) -> None:
        """Forget the epochs of jobs that are no longer in the store."""
        job = exists().where(workflows.c.workflow_uuid == epochs.c.job)
        with self.engine.begin() as connection:
            connection.execute(delete(epochs).where(epochs.c.folder == self.folder, ~job))

    def _begin(self, job: str) -> tuple[int, int]:
        """Begin a run; return its epoch, and that of the last run that was committed, or 0."""
        row = {"folder": self.folder, "job": job, "epoch": epoch_numbers.next_value()}
        begun = insert(epochs).values(**row)
        # From a sequence: also a job that was forgotten and comes again has no number twice.
        begun = begun.on_conflict_do_update(
            constraint=epochs.primary_key, set_={"epoch": begun.excluded.epoch}
        )
        with self.engine.begin() as connection:
            keep_owned(connection, job, self.executor)
            found = connection.execute(begun.returning(epochs.c.epoch, epochs.c.committed)).one()
        return found.epoch, found.committed or 0

    def _commit(self, job: str, epoch: int) -> None:
        """Make a run the one that counts."""
        with self.engine.begin() as connection:
            keep_owned(connection, job, self.executor)
            mine = and_(self._is(job), epochs.c.epoch == epoch)
            if not connection.execute(update(epochs).where(mine).values(committed=epoch)).rowcount:
                raise taken_over(job, "another run of it has begun")

    def _is(self, job: str) -> ColumnElement[bool]:
        return and_(epochs.c.folder == self.folder, epochs.c.job == job)


@contextmanager
def forgetting(epochs: Epochs) -> Iterator[None]:
    """Forget now and then the epochs of jobs that were removed, while the block lasts."""

    def run() -> None:
        try:
            epochs.forget()
        except SQLAlchemyError as error:  # the store is away: the next round does it
            reason = type(error).__name__
            logger.warning("epochs not forgotten: %s", reason, extra={"action": "epoch"})

    with repeated(run, FORGET_S, "epochs", first_s=FORGET_S):
        yield


def _once_there(work: Callable[[], Answer]) -> Answer:
    """Return what `work` returns, once the store can be reached: its steps can be repeated."""
    away = False
    while True:
        try:
            return work()
        except (OperationalError, InterfaceError) as error:
            if not away:
                reason = type(error).__name__
                logger.warning("the store is away: %s", reason, extra={"action": "epoch"})
            away = True
        time.sleep(AGAIN_S)
