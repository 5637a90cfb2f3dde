"""Admission of callers: a connection becomes an association once its whole request has come.

pynetdicom gives each connection two threads and a slot at once, and shakes hands in TLS on the
thread that accepts: forty sockets that send "GET /", or one that sends nothing, keep everybody out
(see docs/upstream.md). Here one thread waits for all of them. It also lets long requests begin one
after the other: forty senders that ask at once would else make a C-ECHO wait for all of them, as
Python's threads take turns in small pieces.
"""

import contextlib
import logging
import selectors
import socket
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from dicom_node.audit.audit_event import refused
from dicom_node.audit.trail import record
from dicom_node.net.admission.association_request import Address, AssociationRequest
from dicom_node.net.admission.turn import Early, Turn, hand_over

logger = logging.getLogger(__name__)

PIECE_BYTES = 1 << 16
LOOK_UP_S = 0.5
"""Between two looks at the deadlines."""
LONG_MOST = 64
"""Long requests that wait for their turn; a further one begins at once."""
GONE = ssl.SSLEOFError, ssl.SSLZeroReturnError
"""Errors of TLS that only mean that the peer has gone, as a probe of the port does."""

Admit = Callable[[socket.socket, Address], None]


class WaitingRoom:
    """Connections that are not associations yet, and the thread that reads their requests."""

    def __init__(
        self,
        admit: Admit,
        request_s: float,
        tls: Callable[[], ssl.SSLContext] | None = None,
        most: int = 256,
        most_per_host: int = 64,
    ) -> None:
        """Start the thread.

        Args:
            admit: called with each connection whose request has come whole.
            request_s: from the connection to the end of the request, TLS handshake included.
            tls: returns the context that encrypts the next connection.
            most: connections that wait at a time; one more ends the oldest of the host that has
                most of them.
            most_per_host: the same for one host.
        """
        self._admit = admit
        self._request_s = request_s
        self._tls = tls
        self._most, self._most_per_host = most, most_per_host
        # For `_entering` alone: `enter` runs in the thread that accepts, all the rest in this one.
        self._lock = threading.Lock()
        self._entering: list[AssociationRequest] = []
        self._waiting: dict[AssociationRequest, None] = {}  # in the order in which they came
        self._long: deque[AssociationRequest] = deque()
        self._turn: Turn | None = None
        self._selector = selectors.DefaultSelector()
        # A byte through the pair wakes the selector, which does not notice a new caller by itself.
        self._bell, self._rung = socket.socketpair()
        for end in (self._bell, self._rung):
            end.setblocking(False)
        self._selector.register(self._rung, selectors.EVENT_READ)
        self._closing = False
        # Daemon: a caller that never sends its request must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="admission", daemon=True)
        self._thread.start()

    def enter(self, connection: socket.socket, address: Address) -> None:
        """Let a new connection wait for its request."""
        try:
            # Before the handshake, no step of which may block the thread that accepts.
            connection.setblocking(False)
            if self._tls:
                # The first `recv` shakes hands by itself, in this room's thread.
                connection = self._tls().wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            caller = AssociationRequest(connection, address, time.monotonic() + self._request_s)
            with self._lock:
                self._entering.append(caller)
            self._ring()
        except (OSError, ValueError):  # the peer has gone already, or the room is closed
            connection.close()

    def close(self) -> None:
        """End the thread and every connection that waits."""
        self._closing = True
        self._ring()
        self._thread.join()
        self._bell.close()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # full: rung often enough; or the room is closed
            self._bell.send(b"\0")

    def _run(self) -> None:
        try:
            while not self._closing:
                for key, _ in self._selector.select(LOOK_UP_S):
                    if key.data is None:
                        self._take_in()
                    else:
                        self._read(key.data)
                self._begin_next()
                now = time.monotonic()
                # A list, because `_end` changes the dictionary.
                for caller in [each for each in self._waiting if each.deadline < now]:
                    self._end(caller)
        finally:
            with self._lock:
                # Also those that came after the last round: their peers would wait in vain.
                for caller in [*self._waiting, *self._long, *self._entering]:
                    caller.connection.close()
            self._selector.close()
            self._rung.close()

    def _take_in(self) -> None:
        # Before the list is taken: whoever enters afterwards rings once more.
        self._rung.recv(PIECE_BYTES)
        with self._lock:
            entering, self._entering = self._entering, []
        for caller in entering:
            self._waiting[caller] = None
            self._selector.register(caller.connection, selectors.EVENT_READ, caller)
            self._make_room()

    def _make_room(self) -> None:
        """End the oldest caller of the host that has most, where there are too many.

        Who has a request to send does so at once, and is never the oldest.
        """
        host, count = Counter(each.host for each in self._waiting).most_common(1)[0]
        if count > self._most_per_host or len(self._waiting) > self._most:
            # The first is the oldest, as the dictionary keeps the order in which they came.
            self._end(next(each for each in self._waiting if each.host == host))

    def _read(self, caller: AssociationRequest) -> None:
        if caller not in self._waiting:  # ended since the selector returned
            return
        try:
            # Until it would block: what TLS has decrypted already does not wake the selector again.
            while piece := caller.connection.recv(PIECE_BYTES):
                caller.received += piece
                if caller.is_whole:
                    self._leave(caller)
                    if caller.is_long and len(self._long) < LONG_MOST:
                        self._long.append(caller)
                    else:
                        self._let_in(caller)
                    return
            self._end(caller)
        except (BlockingIOError, ssl.SSLWantReadError):
            self._selector.modify(caller.connection, selectors.EVENT_READ, caller)
        except ssl.SSLWantWriteError:  # the handshake has more to send than fits
            self._selector.modify(caller.connection, selectors.EVENT_WRITE, caller)
        except (OSError, ValueError) as error:  # garbage, a failed handshake, or the peer has gone
            if isinstance(error, ssl.SSLError) and not isinstance(error, GONE):
                record(lambda: refused("", caller.host))
            self._end(caller)

    def _begin_next(self) -> None:
        """Let the next long request in, unless another one is being negotiated."""
        if self._turn is not None and not self._turn.is_over:
            return
        self._turn = None
        if self._long:
            self._turn = Turn(self._ring)
            self._let_in(self._long.popleft(), self._turn)

    def _let_in(self, caller: AssociationRequest, turn: Turn | None = None) -> None:
        # pynetdicom's threads read from blocking sockets; `WakingSocket.limit_waits` bounds them.
        caller.connection.setblocking(True)
        hand_over(caller.connection, Early(bytes(caller.received), turn))
        try:
            self._admit(caller.connection, caller.address)
        except RuntimeError:  # no thread can be started
            logger.warning("no thread for a caller", extra={"action": "admission_failed"})
            caller.connection.close()
            if turn is not None:
                turn.end()

    def _end(self, caller: AssociationRequest) -> None:
        self._leave(caller)
        caller.connection.close()

    def _leave(self, caller: AssociationRequest) -> None:
        del self._waiting[caller]
        self._selector.unregister(caller.connection)
