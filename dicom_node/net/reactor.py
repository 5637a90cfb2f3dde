"""Where the thread of an association rests while this side asks the peer something.

pynetdicom lets that thread go after each answer, and believes that it rests again if it did so the
last time. One that wakes late then takes the next answer for a request, and drops it: the peer
seems silent for a minute. It also believes a mark that a report served meanwhile takes away.
"""

import threading

from pynetdicom.association import Association
from pynetdicom.events import Event

from dicom_node.net.shutdown import SETTLE_S


class ReactorPause(threading.Event):
    """Set while the thread may run."""

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._association = association
        self._turn = threading.Condition()
        self._taken = False
        self.set()

    def set(self) -> None:
        """Let the thread run."""
        with self._turn:
            super().set()
            self._turn.notify_all()

    def clear(self) -> None:
        """Return once the thread rests, or has not come to it for `SETTLE_S`: it may have ended.

        pynetdicom then waits for its own mark, which a thread that has ended would never set.
        """
        with self._turn:
            super().clear()
            self._turn.wait_for(lambda: self._taken, SETTLE_S)
        self._association._is_paused = True

    def wait(self, timeout: float | None = None) -> bool:
        """Rest until the thread may run, and may still when it wakes."""
        with self._turn:
            self._taken = True
            self._turn.notify_all()
            may = self._turn.wait_for(self.is_set, timeout)
            self._taken = False
        return may


def install_reactor_pause(event: Event) -> None:
    """Give a new connection's association its place to rest, before its thread begins."""
    event.assoc._reactor_checkpoint = ReactorPause(event.assoc)
