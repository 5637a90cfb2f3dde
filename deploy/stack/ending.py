"""Ctrl-C and SIGTERM, as a loop looks for them."""

import signal
from queue import Empty, SimpleQueue

LOOK_S = 1.0


def signals() -> "SimpleQueue[int]":
    """Return a queue to which SIGINT and SIGTERM go from now on."""
    # Not an event: it has a lock, and what a signal interrupts may hold it.
    told: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: told.put(number))
    return told


def is_told(told: "SimpleQueue[int]") -> bool:
    """Return, after a second at most, whether to stop."""
    try:
        told.get(timeout=LOOK_S)
    except Empty:
        return False
    return True
