"""Rates of callers: answers are delayed, so that a sender goes no faster than it may."""

import threading
import time
from collections.abc import Iterable
from weakref import WeakKeyDictionary

from pynetdicom.association import Association

from dicom_node.net.callers import Caller

LOOK_S = 0.1
"""Between two looks whether an association is still open while its answer is delayed."""


class Pace:
    """Even spacing of instances in time."""

    def __init__(self, rate: float) -> None:
        """Allow so many a second."""
        self._step_s = 1 / rate
        # One caller may have several associations, each in a thread of its own.
        self._lock = threading.Lock()
        self._next = 0.0

    def turn(self) -> float:
        """Take the next turn, and return the seconds until it comes."""
        now = time.monotonic()
        with self._lock:
            # Turns that nobody took are not saved up: no burst follows a pause.
            at = max(self._next, now)
            self._next = at + self._step_s
        return at - now


class Paces:
    """Paces of callers, and which association is whose."""

    def __init__(self, callers: Iterable[Caller] = ()) -> None:
        """Keep one for each caller that has a rate."""
        self._of = {each: Pace(each.rate) for each in callers if each.rate is not None}
        # Weak, as nobody tells of the end of an association.
        self._associations: WeakKeyDictionary[Association, Caller] = WeakKeyDictionary()

    def begin(self, association: Association, caller: Caller) -> None:
        """Note whose association it is."""
        self._associations[association] = caller

    def turn(self, caller: Caller | None) -> float:
        """Return the seconds until the next instance of a caller may be answered."""
        pace = self._of.get(caller) if caller is not None else None
        return pace.turn() if pace else 0.0

    def wait(self, association: Association) -> None:
        """Wait until the next instance of an association may be answered, or until it ends."""
        until = time.monotonic() + self.turn(self._associations.get(association))
        while (rest := until - time.monotonic()) > 0 and association.is_established:
            time.sleep(min(rest, LOOK_S))
