"""How often the queues are looked at: often while work is near, seldom while there is none.

DBOS asks its database, again and again, whether something waits on a queue. Ten times a second that
is a tenth of a core, and a fifth of the throughput of receiving; seldom costs little, but two
queues would hold up each series. So whoever sees work coming says so, and some seconds before: DBOS
shortens its pauses by a tenth at each look, and needs four seconds from seldom to often.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dbos import Queue

OFTEN_S, SELDOM_S = 0.1, 0.5
"""Between two looks at a queue."""

LINGER_S = 5.0
"""How long work stays near after someone said so: longer than from one batch of slices on the
device to the next, or from the last to the delivery."""


class PollingRate:
    """The pace at which queues are looked at."""

    def __init__(self, linger_s: float = LINGER_S) -> None:
        """Let each `hurry` last for `linger_s`."""
        self.linger_s = linger_s
        self._news = threading.Event()
        self._ended = False

    def hurry(self) -> None:
        """Say that there will soon be something on a queue."""
        self._news.set()

    @contextmanager
    def kept(self, queues: Sequence[Queue]) -> Iterator[None]:
        """Look at these queues at this pace while the block lasts; at first, seldom."""
        _look_every(queues, SELDOM_S)
        thread = threading.Thread(target=self._keep, args=(queues,), name="pace", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended = True
            self._news.set()
            thread.join()

    def _keep(self, queues: Sequence[Queue]) -> None:
        while self._news.wait() and not self._ended:
            _look_every(queues, OFTEN_S)
            while self._news.is_set() and not self._ended:
                self._news.clear()
                self._news.wait(self.linger_s)
            _look_every(queues, SELDOM_S)


def _look_every(queues: Sequence[Queue], seconds: float) -> None:
    for queue in queues:
        queue.set_polling_interval_sec(seconds)
