"""Assembly of series whose associations land on different gateways of a cluster.

Each gateway assembles what comes to it; the last one that expects more of a series hands it over,
with the instances of all. A gateway goes on to receive while PostgreSQL is away, and hands nothing
over until it is back.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError

from dicom_node.cluster.arrivals import Arrivals
from dicom_node.receive.events import Association
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.incoming_series import IncomingSeries
from dicom_node.receive.series_assembler import ReceivedSeries, SeriesAssembler
from dicom_node.receive.spool import Spool

logger = logging.getLogger(__name__)

ROUND_S = 1.0
"""Seconds between two looks at what the other gateways do; a new series is noted at once."""


def gather_nothing(series: SeriesKey) -> None:
    """No-op: all gateways have one spool."""


class SharedAssembler(SeriesAssembler):
    """Hands over a series of a shared spool, unless another gateway still receives some of it."""

    def __init__(
        self,
        spool: Spool,
        on_complete: Callable[[ReceivedSeries], None],
        arrivals: Arrivals,
        gather: Callable[[SeriesKey], None] = gather_nothing,
        **options: float | Callable[[], object],
    ) -> None:
        """Watch `spool`.

        Args:
            spool: what this gateway receives, or all gateways together.
            on_complete: takes a series.
            arrivals: the series that come in at all gateways.
            gather: brings what other gateways hold of a series into the spool, where each has its
                own; if it raises, the series is offered again later.
            options: those of `SeriesAssembler`.
        """
        super().__init__(spool, self._hand_over_if_last, **options)  # type: ignore[arg-type]
        self.adopts = True
        """Whether the parts of gateways that died are taken over."""
        self._taker = on_complete
        self._arrivals = arrivals
        self._gather = gather
        self._noted: set[SeriesKey] = set()
        """Series in which the others see a part of this gateway."""
        self._in_hand: SeriesKey | None = None
        self._unnoted = threading.Event()
        self._store_away = False
        self._rounds = threading.Thread(
            target=self._run_rounds, name="shared assembly", daemon=True
        )

    def start(self) -> None:
        """Take up what the spool holds and no other gateway has, and watch from now on."""
        super().start()
        self._rounds.start()

    def stop(self) -> None:
        """End the watching; others take over what is still arriving."""
        super().stop()
        self._unnoted.set()
        self._rounds.join()

    def recover(self) -> None:
        """Let every series in the spool wait, but for those that another gateway receives."""
        left = self._arrivals.leave(self.spool.series())
        super().recover()
        with self._lock:
            for series in left:
                self._arriving.pop(series, None)

    def expect(self, series_uid: str, count: int) -> None:
        """Hand over `series_uid` as soon as all gateways have `count` instances together."""
        self._arrivals.expect(series_uid, count)
        super().expect(series_uid, count)

    def instance_kept(self, association: Association, series: SeriesKey) -> None:
        """Note that an instance of the series is safe in the spool."""
        super().instance_kept(association, series)
        if series not in self._noted:
            self._unnoted.set()

    def round(self) -> None:
        """Note what comes in here, and look at what the others announce and leave."""
        if self.adopts:
            self._arrivals.adopt()
        mine, arriving = self._arrivals.mine(), set(self.arriving())
        self._arrivals.open(arriving - mine)
        self._noted = arriving
        announced = self._arrivals.expected([each.series_uid for each in arriving])
        for series_uid, count in announced.items():
            if self.expected(series_uid) != count:
                super().expect(series_uid, count)
        # Of a gateway that died, or noted just when it was handed over.
        for series in mine - set(self.arriving()) - {self._in_hand}:
            self._renew(series)

    def _hand_over_if_last(self, series: ReceivedSeries) -> None:
        key = SeriesKey(series.study_uid, series.series_uid)
        self._in_hand = key
        try:
            # It may have been too short a while to be noted.
            self._arrivals.open([key])
            if not self._arrivals.is_last(key, len(series.paths)):
                extra = {"action": "receive", "series": series.series_uid}
                logger.info("another gateway receives more of it", extra=extra)
                return
            self._gather(key)
            # Read once more: what others left to this gateway came before `is_last`.
            self._taker(replace(series, paths=self.spool.paths(key)))
            if not self._arrivals.close(key):
                self._renew(key)
        finally:
            self._in_hand = None
            self._noted.discard(key)  # what came meanwhile is noted anew

    def _renew(self, series: SeriesKey) -> None:
        """Let a series wait for its quiet time from now on."""
        with self._lock:
            self._arriving.setdefault(series, IncomingSeries(self._clock()))
        self._news.set()

    def _run_rounds(self) -> None:
        while not self._stopping:
            self._unnoted.clear()
            try:
                self.round()
                self._store_away = False
            except SQLAlchemyError as error:  # the store is away: the next round tries again
                if not self._store_away:
                    reason = type(error).__name__
                    logger.warning("other gateways not seen: %s", reason, extra={"action": "share"})
                self._store_away = True
                self._unnoted.clear()  # or it would spin
            self._unnoted.wait(ROUND_S)
