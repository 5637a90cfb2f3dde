"""Admission of callers: a connection becomes an association once its whole request has come.

pynetdicom gives each connection two threads and a slot at once, and shakes hands in TLS on the
thread that accepts: forty sockets that send "GET /", or one that sends nothing, keep everybody out
(see docs/upstream.md). Here one thread waits for all of them.
"""

import contextlib
import errno
import logging
import selectors
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.audit.audit_event import refused
from dicom_node.audit.trail import record

logger = logging.getLogger(__name__)

REQUEST = 0x01
"""PDU type of an A-ASSOCIATE-RQ (PS3.8 9.3.2)."""
HEADER_BYTES = 6
REQUEST_BYTES = 1 << 18
"""Longest request: 128 presentation contexts with every transfer syntax take 200 kB."""
PIECE_BYTES = 1 << 16
LOOK_UP_S = 0.5
"""Between two looks at the deadlines."""
NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}
GONE = ssl.SSLEOFError, ssl.SSLZeroReturnError
"""Errors of TLS that only mean that the peer has gone, as a probe of the port does."""

Address = tuple[Any, ...]
"""Of a socket: host and port first."""
Admit = Callable[[socket.socket, Address], None]

# Weak: a connection that ends before its association begins takes its bytes with it.
_early: WeakKeyDictionary[socket.socket, bytes] = WeakKeyDictionary()


def take_early(connection: socket.socket | None) -> bytes:
    """Return what was read from a connection before it became an association, once."""
    return _early.pop(connection, b"") if connection is not None else b""


@dataclass(eq=False)
class _Caller:
    connection: socket.socket
    address: Address
    deadline: float
    received: bytearray = field(default_factory=bytearray)

    @property
    def host(self) -> str:
        return str(self.address[0])

    @property
    def complete(self) -> bool:
        """Whether the request has come whole.

        Raises:
            ConnectionAbortedError: it is no association request, or too long.
        """
        if self.received and self.received[0] != REQUEST:
            raise ConnectionAbortedError
        if len(self.received) < HEADER_BYTES:
            return False
        length = int.from_bytes(self.received[2:HEADER_BYTES], "big")
        if length > REQUEST_BYTES:
            raise ConnectionAbortedError
        return len(self.received) >= HEADER_BYTES + length


class WaitingRoom:
    """Connections whose association request has not come whole, and the thread that reads them."""

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
        self._entering: list[_Caller] = []
        self._waiting: dict[_Caller, None] = {}  # in the order in which they came
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
            caller = _Caller(connection, address, time.monotonic() + self._request_s)
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
        with contextlib.suppress(BlockingIOError):  # full: rung often enough
            self._bell.send(b"\0")

    def _run(self) -> None:
        try:
            while not self._closing:
                for key, _ in self._selector.select(LOOK_UP_S):
                    if key.data is None:
                        self._take_in()
                    else:
                        self._read(key.data)
                now = time.monotonic()
                # A list, because `_end` changes the dictionary.
                for caller in [each for each in self._waiting if each.deadline < now]:
                    self._end(caller)
        finally:
            with self._lock:
                # Also those that came after the last round: their peers would wait in vain.
                for caller in [*self._waiting, *self._entering]:
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

    def _read(self, caller: _Caller) -> None:
        if caller not in self._waiting:  # ended since the selector returned
            return
        try:
            # Until it would block: what TLS has decrypted already does not wake the selector again.
            while piece := caller.connection.recv(PIECE_BYTES):
                caller.received += piece
                if caller.complete:
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

    def _let_in(self, caller: _Caller) -> None:
        self._leave(caller)
        # pynetdicom's threads read from blocking sockets; `WakingSocket.limit_waits` bounds them.
        caller.connection.setblocking(True)
        _early[caller.connection] = bytes(caller.received)
        try:
            self._admit(caller.connection, caller.address)
        except RuntimeError:  # no thread can be started
            logger.warning("no thread for a caller", extra={"action": "admission_failed"})
            caller.connection.close()

    def _end(self, caller: _Caller) -> None:
        self._leave(caller)
        caller.connection.close()

    def _leave(self, caller: _Caller) -> None:
        del self._waiting[caller]
        self._selector.unregister(caller.connection)


class AdmissionServer(ThreadedAssociationServer):
    """A server whose associations begin once their request is there."""

    request_queue_size = 128
    """Connections that the system holds until they are accepted; socketserver's 5 overflow."""
    room: WaitingRoom | None = None

    def open(self, request_s: float, tls: Callable[[], ssl.SSLContext] | None) -> None:
        """Begin to accept callers, in a thread."""
        self.room = WaitingRoom(super().process_request, request_s, tls)
        threading.Thread(target=self.serve_forever, name="accept", daemon=True).start()
        self.ae._servers.append(self)  # where `shutdown` takes it from, as `start_server` does

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; the waiting room does the TLS handshake."""
        assert self.socket is not None
        try:
            return self.socket.accept()
        except OSError as error:
            if error.errno in NO_DESCRIPTORS:
                time.sleep(LOOK_UP_S)  # the connection stays in the queue: this would spin
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Let a connection wait for its request."""
        assert self.room is not None
        self.room.enter(request, client_address)

    def server_close(self) -> None:
        """Stop accepting, and end who waits."""
        # The listening socket first: nobody may enter a room that is closing.
        super().server_close()
        if self.room is not None:
            with contextlib.suppress(OSError):  # closed before
                self.room.close()


class PortSharingServer(AdmissionServer):
    """A server that shares its port with others of its kind, among which Linux spreads callers."""

    def server_bind(self) -> None:
        """Bind the socket, with the option (socket(7)) that has to be set before."""
        assert self.socket is not None
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()
