"""Draining of a process: it finishes what it has, and takes nothing new.

That a process is to be drained is a row in PostgreSQL, so that any process can ask it of any other.
The row stays when the process crashes, and goes when it ends in order.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import ColumnElement, Engine, and_, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from dicom_node.cluster.membership import Duty, Member, SeenMember
from dicom_node.cluster.tables import drains
from dicom_node.error_location import unforeseen
from dicom_node.errors import BadConfiguration
from dicom_node.rounds import repeated

logger = logging.getLogger(__name__)

ROUND_S = 1.0
"""Seconds between two looks at whether this process is to be drained."""

DRAINABLE = "receive", "work", "deliver"
"""Roles that take work."""


class Intake(Protocol):
    """New work of a process, as it may be stopped."""

    def stop(self) -> None:
        """Take nothing new; called again and again."""

    def go_on(self) -> None:
        """Take work again; called again and again."""

    def is_empty(self) -> bool:
        """Return whether nothing is left of what was taken."""


@dataclass(frozen=True)
class Drains:
    """The processes of one folder that take nothing new."""

    engine: Engine
    folder: str

    def ask(self, name: str) -> None:
        """Let a process take nothing new from now on."""
        row = {"folder": self.folder, "name": name}
        with self.engine.begin() as connection:
            connection.execute(insert(drains).values(**row).on_conflict_do_nothing())

    def undo(self, name: str) -> None:
        """Let a process take work again."""
        with self.engine.begin() as connection:
            connection.execute(delete(drains).where(self._is(name)))

    def is_asked(self, name: str) -> bool:
        """Return whether a process is to take nothing new."""
        with self.engine.connect() as connection:
            return connection.scalar(select(drains.c.name).where(self._is(name))) is not None

    def note(self, name: str, *, drained: bool) -> bool:
        """Note whether a process has nothing left; return whether that is news."""
        news = update(drains).where(self._is(name), drains.c.drained != drained)
        with self.engine.begin() as connection:
            return connection.execute(news.values(drained=drained)).rowcount > 0

    def _is(self, name: str) -> ColumnElement[bool]:
        return and_(drains.c.folder == self.folder, drains.c.name == name)


@contextmanager
def drainable(engine: Engine, me: Member, intake: Intake) -> Iterator[None]:
    """Stop the intake of this process while it is to be drained, as long as the block lasts."""
    drains = Drains(engine, me.folder)

    def look() -> None:
        try:
            follow(drains, me.name, intake)
        # The edge of a thread, which must not end: the store may be away, and DBOS passes on
        # whatever its driver raises. The next round looks again.
        except Exception as error:
            logger.warning("drain: %s", unforeseen(error), extra={"action": "drain"})

    look()  # at once: a process that crashed while it was drained takes nothing when it is back
    with repeated(look, ROUND_S, "drain", first_s=ROUND_S):
        yield


def follow(drains: Drains, name: str, intake: Intake) -> None:
    """Stop an intake or let it go on, as the store has it, and note whether anything is left."""
    if not drains.is_asked(name):
        intake.go_on()
        return
    intake.stop()
    empty = intake.is_empty()
    if drains.note(name, drained=empty):
        logger.info("%s", Duty.DRAINED if empty else Duty.DRAINING, extra={"action": "drain"})


def require_drainable(found: list[SeenMember], name: str) -> list[str]:
    """Return the live process of this name, or all that have it but for their numbers.

    `receive-host` is `receive-host-1`, `receive-host-2` and so on: all of a role on a host, as
    those of one `hepar receive`.

    Raises:
        BadConfiguration: there is none, or it takes no work.
    """
    living = {each.member.name: each.member for each in found if each.alive}
    named = [name] if name in living else [each for each in living if _stem(each) == name]
    if not named:
        known = ", ".join(living) or "none"
        raise BadConfiguration(f"no live process {name!r} in this cluster; known: {known}")
    if living[named[0]].role not in DRAINABLE:
        raise BadConfiguration(f"{name} takes no work; stop it at any time")
    return named


def _stem(name: str) -> str:
    """Return the name of a process without its number."""
    return name.rpartition("-")[0]
