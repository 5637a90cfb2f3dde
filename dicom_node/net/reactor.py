"""Waits of an association's reactor, the thread that pynetdicom runs for each.

Of one that this node has opened: a pause while a query is under way. pynetdicom lets that thread
run on after each answer, and takes it for paused again if it was so the last time. A thread that
wakes late then takes the next answer for a request and drops it: the peer seems silent for a
minute. It also trusts a flag that a report served meanwhile resets (pynetdicom issue 820).

Of one that it has received: sleep until there is something for it. pynetdicom looks for messages
once a millisecond, and sleeps that long twice for each slice; forty open associations wake up as
many thousand times a second, and keep each other from working.

See docs/upstream.md.
"""

import queue
import threading
from typing import Any, cast

from pynetdicom.association import Association
from pynetdicom.events import Event

from dicom_node.net.shutdown import SETTLE_S

LOOK_UP_S = 0.1
"""Longest sleep of the reactor of a received association; its timers are checked in between."""


class ReactorPause(threading.Event):
    """Set while the reactor may run; `clear` returns once it is paused."""

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._association = association
        self._turn = threading.Condition()
        self._paused = False
        self.set()

    def set(self) -> None:
        """Let the reactor run."""
        with self._turn:
            super().set()
            self._turn.notify_all()

    def clear(self) -> None:
        """Return once the reactor is paused, or has not paused for `SETTLE_S`: it may have ended.

        pynetdicom then waits for its own flag without end, which a reactor that has ended would
        never set.
        """
        with self._turn:
            super().clear()
            self._turn.wait_for(lambda: self._paused, SETTLE_S)
        self._association._is_paused = True

    def wait(self, timeout: float | None = None) -> bool:
        """Pause until the reactor may run, and still may when it wakes."""
        with self._turn:
            self._paused = True
            self._turn.notify_all()
            may_run = self._turn.wait_for(self.is_set, timeout)
            self._paused = False
        return may_run


def install_reactor_pause(event: Event) -> None:
    """Give a new association its pause; to be bound to EVT_CONN_OPEN, before its thread starts."""
    event.assoc._reactor_checkpoint = ReactorPause(event.assoc)


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
