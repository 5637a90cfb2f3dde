"""Thread that compares corrections, one by one, so that no series that comes in waits for them.

The files in the spool are the queue that outlives the process: they go once they are compared, and
after a restart the assembler hands over whatever is left.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dicom_node.error_location import error_location
from dicom_node.errors import NodeError, ResultPending, TooManyCorrections, lacks_room
from dicom_node.jobs.content_digest import file_stamp
from dicom_node.jobs.submit.correction_intake import CorrectionIntake
from dicom_node.receive.incoming_series import IncomingSeries
from dicom_node.receive.spool import Spool

logger = logging.getLogger(__name__)

MOST = 10_000
"""Corrections that wait at most; more are offered again later."""


@dataclass
class CorrectionQueue:
    """Corrections that wait to be compared; at most `MOST`, each at its turn."""

    intake: CorrectionIntake
    spool: Spool
    clock: Callable[[], float] = time.monotonic
    """Seconds that never run backwards."""
    _waiting: dict[Path, IncomingSeries] = field(default_factory=dict)
    _new: list[Path] = field(default_factory=list)
    """Those of which the register has no note yet."""
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
        try:
            self.intake.acknowledge(new)
        # The edge: a note that cannot be made holds up no comparison, which is noted anyway.
        except Exception as error:
            _log_failure("corrections not noted as waiting", error)

    def _take(self, path: Path, turn: IncomingSeries) -> None:
        try:
            if not path.exists():  # by the clean-up, or another gateway has taken it
                self.intake.drop(path)
                return
            before = file_stamp([path])
            self.intake.take([path])
            # One that came again meanwhile was kept for its sender, and is offered anew.
            if file_stamp([path]) == before:
                self.spool.remove([path])
        # The edge of this thread, which must not end: its file is in the spool still.
        except Exception as error:
            _log_failure(f"correction not taken, will be tried again in {turn.pause_s:g} s", error)
            again = turn.refused(self.clock(), lacks_room=lacks_room(error))
            with self._lock:
                self._waiting.setdefault(path, again)

    def _run(self) -> None:
        while True:
            # Before looking: what comes meanwhile ends the wait below at once, and so does `stop`,
            # whose signal would be lost if `_stopping` were looked at first.
            self._news.clear()
            if self._stopping:
                return
            self._news.wait(self.compare_next())


def _log_failure(what: str, error: Exception) -> None:
    extra = {"action": "correction"}
    if isinstance(error, ResultPending):  # nothing is wrong
        logger.info("%s: %s", what, error, extra=extra)
    elif isinstance(error, (NodeError, OSError)):
        logger.warning("%s: %s", what, error, extra=extra)
    else:
        # Its words may quote the file.
        logger.error("%s: %s", what, error_location(error), extra=extra)
