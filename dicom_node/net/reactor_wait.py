"""Wait of a receiver's reactor: until there is something for it.

pynetdicom's looks for messages once a millisecond, and sleeps that long before it serves one: a
third of the time of a slice, and with forty open associations as many thousand wake-ups a second,
which keep each other from working (see docs/upstream.md).
"""

import queue
import threading
from typing import Any, cast

from pynetdicom.association import Association
from pynetdicom.events import Event

LOOK_UP_S = 0.1
"""Longest wait; pynetdicom checks its timers in between."""


class NotingQueue(queue.Queue[Any]):
    """A queue that sets an event with each item."""

    def __init__(self, news: threading.Event) -> None:
        super().__init__()
        self._news = news

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item, and set the event."""
        super().put(item, block, timeout)
        self._news.set()


class ReactorWait(threading.Event):
    """Set while the reactor may run; `wait` serves messages, and returns for all else."""

    def __init__(self, association: Association, news: threading.Event) -> None:
        super().__init__()
        self._association = association
        self._news = news
        self.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Serve messages until there is something else to do, or for as long as timers may wait."""
        may_run = super().wait(timeout)
        while may_run and self._serve_next():
            may_run = super().wait(timeout)
        return may_run

    def _serve_next(self) -> bool:
        """Serve the next message; return whether the reactor may go on to wait."""
        association = self._association
        # In this order: what comes after the look at the queues ends the wait below.
        self._news.clear()
        # A release or an abort, or what the peer has sent before it closed the connection.
        if association.dul.to_user_queue.queue or association._kill:
            return False
        if not association.dimse.msg_queue.queue:
            return self._news.wait(LOOK_UP_S)
        context, message = association.dimse.get_msg(block=False)
        if message is None:
            return False
        association._is_paused = False
        association._serve_request(message, cast(int, context))
        association._is_paused = True
        return True


def install_reactor_wait(event: Event) -> None:
    """Give a new association its wait; to be bound to EVT_CONN_OPEN, before its thread starts."""
    news = threading.Event()
    association = event.assoc
    # Both are empty, and no thread waits on them yet.
    association.dimse.msg_queue = NotingQueue(news)
    association.dul.to_user_queue = NotingQueue(news)
    association._reactor_checkpoint = ReactorWait(association, news)
