"""Completion of series by the number of instances that an archive has of them.

The archive is asked once a series has been quiet for a moment, and the series is closed when the
answer equals what is here: a router that keeps its association open all day delays nothing then.
No answer closes a series that is not the same number; without one the quiet time decides.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from dicom_node.error_location import unforeseen
from dicom_node.errors import NodeError
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.incoming_series import IncomingSeries
from dicom_node.receive.series_assembler import SeriesAssembler

logger = logging.getLogger(__name__)

LONGEST_PAUSE_S = 60.0
"""Longest pause between two questions on one series; it doubles from one to the next."""
SILENT_S = 60.0
"""Seconds without any question after one that was not answered."""
LOOKS = 4
"""Looks at the series in the time that one has to be quiet."""


@dataclass(frozen=True)
class Answer:
    """Latest answer on one series."""

    count: int | None
    """Instances that the archive has; None if it does not return that."""
    here: int
    """Instances that were here."""
    last_s: float
    """When the latest of these had come."""
    times: int
    """Questions so far."""
    again_s: float
    """When the same may be asked again."""


class ArchiveCount:
    """Asks an archive about the series that come in, in a thread of its own."""

    def __init__(
        self,
        assembler: SeriesAssembler,
        count: Callable[[SeriesKey], int | None],
        *,
        after_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch what `assembler` holds.

        Args:
            assembler: the series that come in.
            count: returns the number of instances that the archive has of a series; raises
                NodeError if there is no answer.
            after_s: seconds without a new instance before the archive is asked.
            clock: the clock of the assembler.
        """
        self._assembler = assembler
        self._count = count
        self._after_s = after_s
        self._clock = clock
        self._answers: dict[SeriesKey, Answer] = {}
        self._silent_until_s: float | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="archive count", daemon=True)

    def start(self) -> None:
        """Ask from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Ask nothing more; a question under way is left alone, its answer changes nothing."""
        self._stopping.set()

    def ask(self) -> None:
        """Ask about each series that is quiet, unless its last answer still holds."""
        arriving = self._assembler.arriving()
        # Series that were handed over are forgotten, or the dictionary would grow for ever.
        self._answers = {each: a for each, a in self._answers.items() if each in arriving}
        for series, arrival in arriving.items():
            if self._is_due(series, arrival):
                self._ask(series, arrival)

    def _is_due(self, series: SeriesKey, arrival: IncomingSeries) -> bool:
        now, before = self._clock(), self._answers.get(series)
        # Refused before: it is whole, and waits only for somebody to take it.
        if now < (self._silent_until_s or now) or arrival.refusals:
            return False
        if now < arrival.last_s + self._after_s:
            return False
        if before is None or now >= before.again_s:
            return True
        reached = before.count is not None and before.here < before.count
        return reached and self._here(series) >= (before.count or 0)

    def _ask(self, series: SeriesKey, arrival: IncomingSeries) -> None:
        before, count, here = self._answers.get(series), self._answer(series), self._here(series)
        times = before.times + 1 if before else 1
        # The exponent is bounded, as a float overflows at 2.0 ** 1024.
        pause_s = min(self._after_s * 2.0 ** min(times - 1, 10), LONGEST_PAUSE_S)
        answer = Answer(count, here, arrival.last_s, times, self._clock() + pause_s)
        self._answers[series] = answer
        # Fewer here: more will come. More here: the archive is still receiving, too.
        if count != here or (arrival.sending and not _same(before, answer)):
            return
        extra = {"action": "count", "series": series.series_uid}
        logger.info("the archive has %d instances, and all are here", here, extra=extra)
        # With the time, so that an instance that came since the question keeps the series open.
        self._assembler.close(series, arrival.last_s)

    def _answer(self, series: SeriesKey) -> int | None:
        """Return the archive's count; its silence is logged once, until it answers again."""
        try:
            count = self._count(series)
        except Exception as error:  # the edge of this thread: no answer may end the questions
            if self._silent_until_s is None:
                reason = error if isinstance(error, NodeError) else unforeseen(error)
                extra = {"action": "count", "series": series.series_uid}
                logger.warning(
                    "no count: %s; the quiet time completes the series", reason, extra=extra
                )
            self._silent_until_s = self._clock() + SILENT_S
            return None
        self._silent_until_s = None
        return count

    def _here(self, series: SeriesKey) -> int:
        return len(self._assembler.spool.paths(series))

    def _run(self) -> None:
        while not self._stopping.wait(self._after_s / LOOKS):
            try:
                self.ask()
            except OSError:  # the disk cannot be read now: the quiet time decides
                continue


def _same(before: Answer | None, answer: Answer) -> bool:
    """Return whether two answers in a row agree, and nothing came in between.

    An archive that receives the series at the same time, from the same router, may have as many
    instances as this node in the middle of it, if only for a moment.
    """
    return before is not None and (before.count, before.last_s) == (answer.count, answer.last_s)
