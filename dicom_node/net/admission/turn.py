"""What a connection brings into its association: bytes, and the turn in which it is negotiated."""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

TURN_S = 1.0
"""Longest turn. One ends with the first bytes that are sent, of an answer or an abort, after some
20 ms; this is for a connection that ends without any."""


class Turn:
    """The negotiation of one long request, while which no other long one begins."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        """Begin it; `on_end` is called once it is over."""
        self._ended = threading.Event()
        self._deadline = time.monotonic() + TURN_S
        self._on_end = on_end

    @property
    def is_over(self) -> bool:
        """Whether the next one may begin."""
        return self._ended.is_set() or time.monotonic() > self._deadline

    def end(self) -> None:
        """End it; again changes nothing. Any thread may."""
        if not self._ended.is_set():
            self._ended.set()
            self._on_end()


@dataclass(frozen=True)
class Early:
    """What came before the association."""

    received: bytes = b""
    turn: Turn | None = None


# Weak: a connection that ends before its association begins takes its bytes with it.
_early: WeakKeyDictionary[socket.socket, Early] = WeakKeyDictionary()


def hand_over(connection: socket.socket, early: Early) -> None:
    """Keep what came before the association until that takes it."""
    _early[connection] = early


def take_early(connection: socket.socket | None) -> Early:
    """Return what was read from a connection before it became an association, once."""
    return _early.pop(connection, Early()) if connection is not None else Early()
