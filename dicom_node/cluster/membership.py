"""Processes that share a data folder: their names, and their heartbeats in PostgreSQL."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, Engine, and_, case, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.cluster.tables import drains, members, steps
from dicom_node.rounds import repeated

logger = logging.getLogger(__name__)

BEAT_S = 2.0
"""Seconds between two heartbeats."""

DEAD_S = 30.0
"""Seconds without a heartbeat after which a process counts as dead. On a machine with ten busy
processes for each core, heartbeats were six seconds late."""


@dataclass(frozen=True)
class Member:
    """A process that shares a data folder."""

    folder: str
    """Name of the folder (`DataFolder.name`)."""
    name: str
    """Unlike that of any other live process on the folder."""
    role: str
    version: str
    token: str
    """New at each start; the member's file in the folder holds it, too."""
    host: str = socket.gethostname()

    @property
    def executor(self) -> str:
        """Name of the process in the workflow store."""
        return f"{self.folder}/{self.name}"


STEPS_BEFORE = "2"
"""Version of the steps of a process that does not note its own: its release is older than that."""


class Duty(StrEnum):
    """Whether a process takes new work."""

    TAKING = "taking work"
    DRAINING = "draining"
    """It finishes what it has, and takes nothing new."""
    DRAINED = "drained"
    """It has nothing left, and takes nothing new."""


@dataclass(frozen=True)
class SeenMember:
    """A process as its heartbeats show it."""

    member: Member
    started: datetime
    alive: bool
    duty: Duty
    steps: str = STEPS_BEFORE
    """Version of the steps that it works with."""


@dataclass(frozen=True)
class Membership:
    """Heartbeats of the processes that share one folder."""

    engine: Engine
    folder: str

    def beat(self, member: Member) -> None:
        """Note that a process is alive."""
        values = {
            "folder": member.folder,
            "name": member.name,
            "role": member.role,
            "host": member.host,
            "version": member.version,
            "token": member.token,
        }
        began = case((members.c.token == member.token, members.c.started), else_=func.now())
        again = {**values, "beat": func.now(), "started": began}
        statement = insert(members).values(**values)
        statement = statement.on_conflict_do_update(
            index_elements=[members.c.folder, members.c.name], set_=again
        )
        with self.engine.begin() as connection:
            connection.execute(statement)

    def note_steps(self, member: Member, version: str) -> None:
        """Note the version of the steps that a process works with."""
        values = {"token": member.token, "version": version}
        statement = insert(steps).values(folder=member.folder, name=member.name, **values)
        statement = statement.on_conflict_do_update(constraint=steps.primary_key, set_=values)
        with self.engine.begin() as connection:
            connection.execute(statement)

    def forget_steps(self, member: Member) -> None:
        """Forget what a process has noted of its steps."""
        # Not in `leave`: the page may have no right to this table.
        its = steps.c.folder == member.folder, steps.c.name == member.name
        with self.engine.begin() as connection:
            connection.execute(delete(steps).where(*its, steps.c.token == member.token))

    def leave(self, member: Member) -> None:
        """Forget a process that ends in order, and that it was to be drained."""
        mine = members.c.folder == member.folder, members.c.name == member.name
        gone = delete(members).where(*mine, members.c.token == member.token)
        drained = drains.c.folder == member.folder, drains.c.name == member.name
        with self.engine.begin() as connection:
            if connection.execute(gone).rowcount:
                connection.execute(delete(drains).where(*drained))

    def all(self) -> list[SeenMember]:
        """Return every process that has not ended in order, by name."""
        both = and_(drains.c.folder == members.c.folder, drains.c.name == members.c.name)
        noted = and_(
            steps.c.folder == members.c.folder,
            steps.c.name == members.c.name,
            steps.c.token == members.c.token,  # not of one before it
        )
        statement = select(
            members, is_alive().label("alive"), drains.c.drained, steps.c.version.label("steps")
        )
        statement = statement.select_from(members.outerjoin(drains, both).outerjoin(steps, noted))
        statement = statement.where(members.c.folder == self.folder)
        with self.engine.connect() as connection:
            rows = connection.execute(statement.order_by(members.c.name)).all()
        return [
            SeenMember(
                Member(each.folder, each.name, each.role, each.version, each.token, each.host),
                each.started,
                each.alive,
                _duty(each.drained),
                each.steps or STEPS_BEFORE,
            )
            for each in rows
        ]


def _duty(drained: bool | None) -> Duty:
    """Return what a row of `drains` means, None where there is no row."""
    if drained is None:
        return Duty.TAKING
    return Duty.DRAINED if drained else Duty.DRAINING


def is_alive() -> ColumnElement[bool]:
    """Return the condition that a row of `members` had a heartbeat lately."""
    return members.c.beat > func.now() - timedelta(seconds=DEAD_S)


@contextmanager
def beating(membership: Membership, member: Member) -> Iterator[None]:
    """Note every two seconds that this process is alive, while the block lasts."""
    membership.beat(member)

    def run() -> None:
        try:
            membership.beat(member)
        except SQLAlchemyError as error:  # the store is away; the next beat tries again
            reason = type(error).__name__
            logger.warning("no heartbeat: %s", reason, extra={"action": "beat"})

    with repeated(run, BEAT_S, "heartbeat", first_s=BEAT_S):
        yield
    try:
        membership.leave(member)
    except SQLAlchemyError as error:  # it then counts as dead, which it is
        logger.warning("not signed off: %s", type(error).__name__, extra={"action": "beat"})
