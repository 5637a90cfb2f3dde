"""Pause of an association's reactor while a query is under way.

pynetdicom lets that thread run on after each answer, and takes it for paused again if it was so the
last time. A thread that wakes late then takes the next answer for a request and drops it: the peer
seems silent for a minute. It also trusts a flag that a report served meanwhile resets (pynetdicom
issue 820). See docs/upstream.md.
"""

import threading

from pynetdicom.association import Association
from pynetdicom.events import Event

from dicom_node.net.shutdown import SETTLE_S


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
