"""Assembly of received instances into complete series.

DICOM has no end-of-series message. A series counts as complete when every association that sent
some of it has ended and nothing came for `quiet_s`; or at once when the number of instances that
someone announced with `expect` is here, or when `close` says that it is whole, as an archive that
is asked for its Number of Series Related Instances does (`archive_count`). Counts in the headers
are not believed: Images in Acquisition (0020,1002) counts an acquisition, which may be half a
series or three of them.

A late instance makes its series wait and complete again, with all its instances. After a restart
every series in the spool does. What was done already is up to the receiver of `on_complete`,
by the set of instances: there is no second record here that could disagree with the spool.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dicom_node.errors import lacks_room
from dicom_node.receive.events import Association
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.incoming_series import IncomingSeries
from dicom_node.receive.spool import Spool

logger = logging.getLogger(__name__)

SOON_S = 5.0
"""Seconds before a series may be complete at which `on_soon` is first called."""


@dataclass(frozen=True)
class ReceivedSeries:
    """A series for which no more instances are expected."""

    study_uid: str
    series_uid: str
    paths: tuple[Path, ...]
    """Its instances in the spool, in the order of their UIDs."""


class SeriesAssembler:
    """Hands over each series of a spool once it is complete. It is a `scp.Listener`.

    Start it before the receiver and stop it after: `start` clears away half-written files.
    """

    def __init__(
        self,
        spool: Spool,
        on_complete: Callable[[ReceivedSeries], None],
        *,
        quiet_s: float = 10.0,
        resend_s: float = 0.0,
        on_soon: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch `spool`.

        Args:
            spool: what is received.
            on_complete: takes a series; must keep it durably and recognise a set of instances
                that it had before. If it raises, the series is offered again later.
            quiet_s: seconds without a new instance after which nothing more is expected.
            resend_s: seconds after a start, if longer than `quiet_s`, that what the spool holds
                waits for a sender that was cut off and comes back. Only the sender knew whether
                its series was whole.
            on_soon: called repeatedly while a series may be complete within `SOON_S`.
            clock: seconds that never run backwards.
        """
        self.spool = spool
        self.on_complete = on_complete
        self.quiet_s = quiet_s
        self.resend_s = resend_s
        self.on_soon = on_soon
        self._clock = clock
        # For `_arriving` and `_expected`, which the receiver's threads and this one change.
        self._lock = threading.Lock()
        self._arriving: dict[SeriesKey, IncomingSeries] = {}
        self._expected: dict[str, int] = {}
        self._closed: dict[SeriesKey, float] = {}
        self._news = threading.Event()
        self._stopping = False
        self._handing_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="assembler", daemon=True)
        spool.is_unfinished = self.is_arriving

    def start(self) -> None:
        """Take up what the spool holds, and watch from now on."""
        self.recover()
        self._thread.start()

    def stop(self) -> None:
        """End the watching; whatever is still arriving is found again by the next `start`."""
        self._stopping = True
        self._news.set()
        # Nothing is handed over after this, so what takes series may end.
        self._thread.join()

    def recover(self) -> None:
        """Let every series in the spool wait for its sender, or its quiet time, from now on."""
        self.spool.recover()
        from_s = self._clock() + max(0.0, self.resend_s - self.quiet_s)
        with self._lock:
            for series in self.spool.series():
                # Not over one that has come since the start, whose time is later.
                self._arriving.setdefault(series, IncomingSeries(from_s))
        # For a thread that has begun already, and waits for what it knew of.
        self._news.set()

    @property
    def busy_s(self) -> float:
        """Seconds for which the present hand-over goes on; 0 between two."""
        since = self._handing_since
        return 0.0 if since is None else self._clock() - since

    @property
    def running(self) -> bool:
        """Whether the thread that completes series runs."""
        return self._thread.is_alive()

    def arriving(self) -> dict[SeriesKey, IncomingSeries]:
        """Return the series of which more instances may come."""
        with self._lock:
            return dict(self._arriving)

    def is_arriving(self, series: SeriesKey) -> bool:
        """Return whether more instances of a series may come."""
        with self._lock:
            return series in self._arriving

    def silence_s(self, study_uid: str) -> float:
        """Return the seconds since an instance of a study came, of which some series still comes.

        Infinity where none does.
        """
        last = [each.last_s for key, each in self.arriving().items() if key.study_uid == study_uid]
        return self._clock() - max(last) if last else math.inf

    def expect(self, series_uid: str, count: int) -> None:
        """Hand over `series_uid` as soon as it has `count` instances, whoever still sends.

        The announcement does not outlive a restart; the quiet time does its work then.
        """
        with self._lock:
            self._expected[series_uid] = count
        self.on_soon()
        self._news.set()

    def expected(self, series_uid: str) -> int | None:
        """Return the number of instances that was announced; None if none was."""
        with self._lock:
            return self._expected.get(series_uid)

    def close(self, series: SeriesKey, last_s: float) -> None:
        """Hand over `series` now, whoever still sends, unless something came after `last_s`."""
        with self._lock:
            if series in self._arriving:
                self._closed[series] = last_s
        self.on_soon()
        self._news.set()

    def instance_kept(self, association: Association, series: SeriesKey) -> None:
        """Note that an instance of the series is safe in the spool."""
        with self._lock:
            # The time is a placeholder: only the associations of `before` are used.
            before = self._arriving.get(series, IncomingSeries(0.0))
            self._arriving[series] = IncomingSeries(
                self._clock(), before.associations | {association}
            )
            watched = before.associations and series.series_uid not in self._expected
        if not watched:  # otherwise the watcher has a deadline, which only moved further away
            self._news.set()

    def association_closed(self, association: Association) -> None:
        """Note that `association` will send nothing more."""
        with self._lock:
            for series, arrival in self._arriving.items():
                if association in arrival.associations:
                    self._arriving[series] = replace(
                        arrival, associations=arrival.associations - {association}
                    )
        self._news.set()

    def hand_over(self) -> float | None:
        """Hand over what is complete now.

        Returns:
            Seconds after which more may be, if nothing happens until then; None: nothing will.
        """
        # A copy, without the lock: the disk is looked at, and `on_complete` may take long.
        for series, arrival in self.arriving().items():
            # By the time that was meant: an instance since then has moved `last_s`.
            closed = self._closed.get(series) == arrival.last_s
            if closed or self._all_here(series) or self._wait_s(arrival) <= 0:
                self._complete(series, arrival)
        with self._lock:
            return min(map(self._wait_s, self._arriving.values()), default=None)

    def _all_here(self, series: SeriesKey) -> bool:
        expected = self._expected.get(series.series_uid)
        try:
            return expected is not None and len(self.spool.paths(series)) >= expected
        except OSError:  # the disk cannot be read now: the quiet time decides
            return False

    def _wait_s(self, arrival: IncomingSeries) -> float:
        if arrival.sending:
            return max(self.quiet_s, 0.05)  # its end is news; this is for an end that made none
        return arrival.last_s + self.quiet_s - self._clock()

    def _complete(self, series: SeriesKey, arrival: IncomingSeries) -> None:
        with self._lock:
            if self._arriving[series] != arrival:  # something came while we looked
                return
            # Before it is offered: what comes meanwhile makes the series arrive anew.
            del self._arriving[series]
            self._expected.pop(series.series_uid, None)
            self._closed.pop(series, None)
        try:
            self._offer(series)
        except Exception as error:  # the edge of this thread: whatever it was, nothing is lost
            again = arrival.refused(self._clock(), lacks_room=lacks_room(error))
            logger.exception(
                "series not taken, will be offered again in %g s",
                arrival.pause_s + self.quiet_s,
                extra={"action": "hand_over_failed", "series": series.series_uid},
            )
            with self._lock:
                # Not over one that began anew meanwhile; its quiet time runs already.
                self._arriving.setdefault(series, again)

    def _offer(self, series: SeriesKey) -> None:
        if paths := self.spool.paths(series):  # otherwise removed: it was handed over before
            self.on_complete(ReceivedSeries(series.study_uid, series.series_uid, paths))

    def _run(self) -> None:
        while True:
            # Before looking: what happens during `hand_over` ends the wait below at once, and so
            # does `stop`: its signal would be lost if `_stopping` were looked at first.
            self._news.clear()
            if self._stopping:
                return
            self._handing_since = self._clock()
            wait_s = self.hand_over()
            self._handing_since = None
            if wait_s is not None and wait_s > SOON_S:
                wait_s -= SOON_S
            elif wait_s is not None:
                self.on_soon()
            self._news.wait(wait_s)
