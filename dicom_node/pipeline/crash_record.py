"""Record of what is at work, series and corrections, from which the next process learns during
which of them it died.

    at-work/<job>      its work has begun and not ended
    suspects/<job>     the process died while it was at work; holds how often it died of it alone

Only what was alone at work counts a death. Where several were, it is unknown which one it was: each
is tried again alone, and the others wait.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dicom_node.errors import DiedOfIt
from engine.durable_files import PART, make_folder_durably, write_durably

logger = logging.getLogger(__name__)

CRASHES = 10
"""A series of which the process has died this often is not tried again by itself. Somebody may have
killed it each time, so it is not one or two."""


class CrashRecord:
    """The series at work in one process, and the suspects that the ones before it left."""

    def __init__(self, folder: Path) -> None:
        """Take up what a process that died has left in `folder`, the node's."""
        self._at_work, self._suspects = folder / "at-work", folder / "suspects"
        self._turn = threading.Condition()
        self._working = 0
        self._alone = False
        self._waiting_alone = 0
        self._closed = False
        for each in (self._at_work, self._suspects):
            make_folder_durably(each)
        for part in (*self._at_work.glob(f"*{PART}"), *self._suspects.glob(f"*{PART}")):
            part.unlink()
        self._blame(sorted(each.name for each in self._at_work.iterdir()))

    @contextmanager
    def at_work(self, job: str, most: int = CRASHES) -> Iterator[None]:
        """Note that a job is at work while the block lasts; a suspect waits until it is alone.

        Args:
            job: its name, also that of a file.
            most: deaths after which it is not tried again.

        Raises:
            DiedOfIt: the process has died of it too often.
        """
        deaths = self._deaths(job)
        if deaths is not None and deaths >= most:
            self._forget(job)  # whoever retries it gives it as many tries again
            raise DiedOfIt(
                f"the node died {deaths} times while it worked on this series alone; look at its"
                " memory and at the device, then retry it"
            )
        with self._turn_of(alone=deaths is not None):
            self._write(self._at_work / job, "")
            try:
                yield
            finally:
                self._forget(job)

    def close(self) -> None:
        """Forget what is at work: the process ends in order, and no series is to blame."""
        with self._turn:
            self._closed = True
            self._turn.notify_all()  # nobody waits for a job that may not end before the process
        for each in self._at_work.iterdir():
            each.unlink(missing_ok=True)

    def _blame(self, left: list[str]) -> None:
        for job in left:
            deaths = (self._deaths(job) or 0) + (1 if len(left) == 1 else 0)
            logger.warning(
                "the node died while it was at work on this; deaths while it was alone: %d",
                deaths,
                extra={"action": "crash", "job": job},
            )
            # Suspect first: the other way round a crash in between would forget it.
            self._write(self._suspects / job, str(deaths))
            (self._at_work / job).unlink(missing_ok=True)

    def _deaths(self, job: str) -> int | None:
        """Return how often the process died of a suspect; None if it is none."""
        try:
            return int((self._suspects / job).read_text("ascii"))
        except (OSError, ValueError):
            return None

    def _forget(self, job: str) -> None:
        for folder in (self._at_work, self._suspects):
            with contextlib.suppress(OSError):  # at worst it is tried alone the next time
                (folder / job).unlink(missing_ok=True)

    def _write(self, path: Path, text: str) -> None:
        if self._closed:
            return
        # A full disk must not end a job that could wait for room; a death is then not counted.
        with contextlib.suppress(OSError):
            write_durably(path, text.encode("ascii"))

    @contextmanager
    def _turn_of(self, *, alone: bool) -> Iterator[None]:
        """Let many work at a time, or one alone, who goes before those that come later."""
        with self._turn:
            # A boolean counts as 0 or 1.
            self._waiting_alone += alone
            self._turn.wait_for(lambda: self._free(alone=alone))
            self._waiting_alone -= alone
            self._working += 1
            self._alone = alone
        try:
            yield
        finally:
            with self._turn:
                self._working -= 1
                self._alone = False
                self._turn.notify_all()

    def _free(self, *, alone: bool) -> bool:
        if self._closed:
            return True
        if alone:
            return not self._working
        # Nobody begins while a suspect waits, or it would wait for ever on a busy node.
        return not (self._alone or self._waiting_alone)
