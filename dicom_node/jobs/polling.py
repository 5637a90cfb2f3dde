"""Polling interval of the queues: short while work is near, long while there is none.

DBOS polls its database for work on each queue. Ten times a second costs a tenth of a core and a
fifth of the throughput of receiving (measured); twice a second costs little, but delays each series
on two queues. So `speed_up` is called some seconds before work comes: DBOS shortens
its interval by a tenth at each poll, and needs four seconds from long to short.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dbos import DBOS, Queue
from dbos._queue import queue_thread

from dicom_node.error_location import unforeseen

logger = logging.getLogger(__name__)

FAST_S, SLOW_S = 0.1, 0.5
"""Between two polls of a queue."""

LINGER_S = 5.0
"""Polling stays fast for this long after `speed_up`: longer than one batch of slices takes on the
device, or the way from the last batch to the delivery."""


AGAIN_S = 1.0
"""Seconds until a store that is away is asked again."""


class PollingRate:
    """The rate at which queues are polled."""

    def __init__(self, linger_s: float = LINGER_S) -> None:
        """Let each `speed_up` last for `linger_s`."""
        self.linger_s = linger_s
        self._work_near = threading.Event()
        self._ended = False

    def speed_up(self) -> None:
        """Poll fast from now on, because there will soon be work on a queue."""
        self._work_near.set()

    @contextmanager
    def applied_to(self, queues: Sequence[Queue]) -> Iterator[None]:
        """Poll these queues at this rate while the block lasts, slowly at first."""
        _set_interval(queues, SLOW_S)
        thread = threading.Thread(
            target=self._run, args=(queues,), name="polling rate", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            # In this order: the thread that is woken must see that it is to end.
            self._ended = True
            self._work_near.set()
            thread.join()

    def _run(self, queues: Sequence[Queue]) -> None:
        # `_ended` is looked at after each `clear`, which may have taken away its signal.
        while not self._ended and self._work_near.wait() and not self._ended:
            self._set_interval(queues, FAST_S)
            while self._work_near.is_set() and not self._ended:
                # A `speed_up` ends the wait, and the next round begins it anew.
                self._work_near.clear()
                if not self._ended:
                    self._work_near.wait(self.linger_s)
            self._set_interval(queues, SLOW_S)

    def _set_interval(self, queues: Sequence[Queue], seconds: float) -> None:
        """Set the interval, once the store can be reached."""
        away = False
        while not self._ended:
            try:
                _set_interval(queues, seconds)
                return
            # The edge of a thread, which must not end: the store may be away, and DBOS passes on
            # whatever its driver raises.
            except Exception as error:
                if not away:
                    logger.warning("not set: %s", unforeseen(error), extra={"action": "poll"})
                away = True
            time.sleep(AGAIN_S)


def _set_interval(queues: Sequence[Queue], seconds: float) -> None:
    for queue in queues:
        queue.set_polling_interval_sec(seconds)


class Dequeuing:
    """The threads of DBOS in this process that take work from queues, as they stop and go on.

    DBOS itself (3.4) stops them for good, when it ends, and starts them when it starts. What is
    under way needs the rest of it meanwhile.
    """

    def __init__(self, dbos: DBOS) -> None:
        self._dbos = dbos
        self._stopped = False

    @property
    def ended(self) -> bool:
        """Whether nothing is taken any more: also the last poll has ended."""
        return self._stopped and not _pollers()

    def stop(self) -> None:
        """Let each thread end after the poll that it is at."""
        if not self._stopped:
            self._stopped = True
            # As `DBOS.destroy` begins; the other threads with such an event have no work here.
            for event in self._dbos.background_thread_stop_events:
                event.set()

    def go_on(self) -> None:
        """Take work again, unless the old threads are still at their last poll."""
        if self.ended:
            # As `DBOS.launch` does.
            stop = threading.Event()
            self._dbos.background_thread_stop_events.append(stop)
            threading.Thread(target=queue_thread, args=(stop, self._dbos), daemon=True).start()
            self._stopped = False


def _pollers() -> list[threading.Thread]:
    """Return the threads that poll queues."""
    return [each for each in threading.enumerate() if each.name.startswith("queue-worker-")]
