"""Thread that compares corrections, one by one, so that no series that comes in waits for them.

The files in the spool are the queue that outlives the process: they go once they are compared, and
after a restart the assembler hands over whatever is left. One that the node fails or dies of again
and again is given up: its file stays until the clean-up takes it, and is not compared again.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from dicom_node.error_location import error_location, unforeseen
from dicom_node.errors import DiedOfIt, NodeError, ResultPending, TooManyCorrections, lacks_room
from dicom_node.jobs.content_digest import file_stamp
from dicom_node.jobs.submit.correction_intake import CorrectionIntake
from dicom_node.receive.incoming_series import IncomingSeries
from dicom_node.receive.spool import Spool

logger = logging.getLogger(__name__)

MOST = 10_000
"""Corrections that wait at most; more are offered again later."""

FAILURES = 5
"""Unforeseen errors of one correction after which it is given up, 75 s after the first. What passes
by itself, such as a full disk, is none."""

DEATHS = 3
"""A correction, alone at work, of which the node died this often is given up. They are fewer than
those of a series: in the second that it takes, hardly anybody kills the node three times."""

KEPT = "its file is kept in the spool (jobs.keep_failed_days); send it again to have it tried again"
"""Ends the reason of one that was given up."""


@dataclass
class CorrectionQueue:
    """Corrections that wait to be compared; at most `MOST`, each at its turn."""

    intake: CorrectionIntake
    spool: Spool
    clock: Callable[[], float] = time.monotonic
    """Seconds that never run backwards."""
    at_work: Callable[[str], AbstractContextManager[object]] = nullcontext
    """`CrashRecord.at_work` of the node, with `DEATHS`."""
    _waiting: dict[Path, IncomingSeries] = field(default_factory=dict)
    _new: list[Path] = field(default_factory=list)
    """Those of which the register has no note yet."""
    _failures: Counter[Path] = field(default_factory=Counter)
    """Unforeseen errors of each."""
    _over: dict[Path, str] = field(default_factory=dict)
    """Why no more is tried, until the register has it."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _news: threading.Event = field(default_factory=threading.Event)
    _stopping: bool = False
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Compare from now on."""
        self._thread = threading.Thread(target=self._run, name="corrections", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the one that is compared now; the others stay in the spool."""
        self._stopping = True
        self._news.set()
        if self._thread is not None:
            self._thread.join()

    def put(self, paths: Iterable[Path]) -> None:
        """Let corrections wait, whose files lie in the spool.

        Raises:
            TooManyCorrections: some of them have no room; offer them again.
        """
        with self._lock:
            new = [path for path in paths if path not in self._waiting]
            taken = new[: max(0, MOST - len(self._waiting))]
            self._waiting |= {path: IncomingSeries(self.clock()) for path in taken}
            self._new += taken
        self._news.set()
        if len(taken) < len(new):
            raise TooManyCorrections(f"{MOST} corrections wait to be compared")

    def compare_next(self) -> float | None:
        """Note what is new, and compare the one that is due first.

        Returns:
            Seconds after which the next is due; None: none waits.
        """
        self._note_new()
        with self._lock:
            due = min(self._waiting, key=lambda path: self._waiting[path].last_s, default=None)
            if due is None:
                return None
            if (wait_s := self._waiting[due].last_s - self.clock()) > 0:
                return wait_s
            # Before it is read: one that comes again meanwhile waits anew.
            turn = self._waiting.pop(due)
        self._take(due, turn)
        return 0.0

    def _note_new(self) -> None:
        with self._lock:
            new, self._new = self._new, []
        if not new:
            return
        try:
            with self.at_work("corrections"):
                self.intake.acknowledge(new)
        # The edge: a note that cannot be made holds up no comparison, which is noted anyway.
        except Exception as error:
            _log_failure("corrections not noted as waiting", error)

    def _take(self, path: Path, turn: IncomingSeries) -> None:
        try:
            if path.exists():
                self._compare(path)
            else:  # by the clean-up, or another gateway has taken it
                self.intake.drop(path)
            self._forget(path)
        # The edge of this thread, which must not end: its file is in the spool still.
        except Exception as error:
            if reason := self._why_over(path, error):
                self._over[path] = f"{reason}; {KEPT}"
                again = IncomingSeries(self.clock())  # to be registered, at once
            else:
                words = f"correction not taken, will be tried again in {turn.pause_s:g} s"
                _log_failure(words, error)
                again = turn.refused(self.clock(), lacks_room=lacks_room(error))
            with self._lock:
                self._waiting.setdefault(path, again)

    def _compare(self, path: Path) -> None:
        before = file_stamp([path])
        if reason := self._over.get(path):
            self.intake.give_up(path, before, reason)
            return
        if self.intake.is_given_up(path, before):
            return
        with self.at_work(f"correction-{path.stem}"):
            self.intake.take([path])
        # One that came again meanwhile was kept for its sender, and is offered anew.
        if file_stamp([path]) == before:
            self.spool.remove([path])

    def _why_over(self, path: Path, error: Exception) -> str:
        """Return why a correction that was not taken is not tried again; empty where it is."""
        if isinstance(error, DiedOfIt):
            return f"the node died {DEATHS} times while it was compared"
        if not _is_unforeseen(error):
            return ""
        self._failures[path] += 1
        if path in self._over or self._failures[path] < FAILURES:
            return ""
        return f"it failed {FAILURES} times: {unforeseen(error)}"

    def _forget(self, path: Path) -> None:
        del self._failures[path]  # a Counter has no objection to what it does not hold
        self._over.pop(path, None)

    def _run(self) -> None:
        while True:
            # Before looking: what comes meanwhile ends the wait below at once, and so does `stop`,
            # whose signal would be lost if `_stopping` were looked at first.
            self._news.clear()
            if self._stopping:
                return
            self._news.wait(self.compare_next())


def _is_unforeseen(error: Exception) -> bool:
    """Return whether an error is a fault of ours or of a file, which does not pass by itself."""
    # An OSError of the system has a number; a decoder's has none.
    passes = isinstance(error, OSError) and error.errno is not None
    return not (passes or isinstance(error, (NodeError, SQLAlchemyError)))


def _log_failure(what: str, error: Exception) -> None:
    extra = {"action": "correction"}
    if isinstance(error, ResultPending):  # nothing is wrong
        logger.info("%s: %s", what, error, extra=extra)
    elif isinstance(error, (NodeError, OSError)):
        logger.warning("%s: %s", what, error, extra=extra)
    else:
        # Its words may quote the file.
        logger.error("%s: %s", what, error_location(error), extra=extra)
