"""The connection of an association: one wait for both directions, bounded in time and size.

pynetdicom looks at its socket and at its own queue once a millisecond, twice per slice: a third of
the throughput of 512x512 slices, and a core that never sleeps (pynetdicom issue 650). Here one wait
covers both. The other repairs are listed in docs/upstream.md.
"""

import contextlib
import queue
import selectors
import socket
import ssl
import struct
import time
import weakref
from typing import Any, cast

from pynetdicom.events import Event
from pynetdicom.transport import AssociationSocket

from dicom_node.net.admission.turn import take_early
from dicom_node.net.data_set_file import LargeDataSets

LOOK_UP_S = 0.1
"""Longest wait; pynetdicom checks its timers in between."""

ASSOCIATE_BYTES = 1 << 20
"""Longest association request: they list transfer syntaxes, and the negotiated maximum does not
bind them."""

MESSAGE_BYTES = 1 << 30
"""Longest message, and so the largest instance that is received."""

SLOWEST_BYTES_PER_S = 10_000
"""Least average speed of a sender once a message has begun."""

TLS_RECORD_BYTES = 1 << 14
"""Largest plain text of one TLS record (RFC 8446 5.1)."""


def prepare_connection(
    event: Event, timeout_s: float, pdu_bytes: int, large: LargeDataSets | None = None
) -> None:
    """Put a `WakingSocket` under a new association; to be bound to EVT_CONN_OPEN.

    Args:
        event: that a connection is open.
        timeout_s: no read of a PDU and no write takes longer.
        pdu_bytes: longest PDU that is read, but for association requests.
        large: where data sets go that are too large for memory; None keeps them there.

    Raises:
        OSError: too many files are open. The connection is closed, since its waits would have no
            end, and pynetdicom logs the error.
    """
    dul = event.assoc.dul
    plain = cast(AssociationSocket, dul.socket)
    try:
        outgoing = WakingQueue()
    except OSError:
        _give_up(plain)
        raise
    wire = WakingSocket(plain, outgoing, max(pdu_bytes, ASSOCIATE_BYTES), timeout_s, large)
    wire.limit_waits()
    # At this moment the queue is empty and no thread waits on it, so it can be exchanged. The loop
    # needs no delay of its own any more: `WakingSocket.ready` waits.
    dul.socket, dul.to_provider_queue, dul._run_loop_delay = wire, outgoing, 0


def _give_up(plain: AssociationSocket) -> None:
    connection = plain.socket
    plain.close()
    if turn := take_early(connection).turn:
        turn.end()
    if connection is not None:
        connection.close()  # pynetdicom leaves it open if its shutdown fails (issue 979)


class WakingQueue(queue.Queue[Any]):
    """Queue of outgoing primitives; `put` also wakes the thread that waits for the socket."""

    def __init__(self) -> None:
        super().__init__()
        self._bell, self.rung = socket.socketpair()
        for end in (self._bell, self.rung):
            end.setblocking(False)
        # A finaliser, because pynetdicom does not always close what it has opened.
        self.close = weakref.finalize(self, _close, self._bell, self.rung)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item and wake the reader."""
        super().put(item, block, timeout)
        with contextlib.suppress(OSError):  # full: woken often enough; or already closed
            self._bell.send(b"\0")


class WakingSocket(AssociationSocket):
    """An association's socket: waits for both directions, and bounds the time and size of PDUs."""

    def __init__(
        self,
        plain: AssociationSocket,
        outgoing: WakingQueue,
        longest: int,
        timeout_s: float,
        large: LargeDataSets | None = None,
    ) -> None:
        """Take the place of `plain`.

        Args:
            plain: pynetdicom's socket, connected.
            outgoing: queue whose items end a wait.
            longest: most bytes that one read may ask for.
            timeout_s: longest time for one read or write.
            large: where data sets go that are too large for memory.
        """
        vars(self).update(vars(plain))  # __init__ would announce the connection a second time
        self._outgoing = outgoing
        self._longest = longest
        self._timeout_s = timeout_s
        self._large = large
        early = take_early(plain.socket)
        self._early, self._turn = bytearray(early.received), early.turn
        self._message = Allowance(timeout_s)
        # Not `select.select`: it fails for descriptors above 1023, which pynetdicom takes for a
        # closed connection. Not epoll: it would take one more descriptor per association.
        self._selector = selectors.PollSelector()
        self._selector.register(self._open, selectors.EVENT_READ)
        self._selector.register(outgoing.rung, selectors.EVENT_READ)

    def limit_waits(self) -> None:
        """Bound reads and writes: a sender may stop in the middle of a PDU.

        Plain sockets get the system's timeouts, not Python's, which would poll before every read.
        OpenSSL ignores those: with a blocking SSLSocket, Python waits on.
        """
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._open.setsockopt(socket.SOL_SOCKET, option, _timeval(self._timeout_s))
        # Nagle's algorithm holds the last part of an answer back for 40 ms.
        self._open.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            self._open.settimeout(self._timeout_s)

    @property
    def ready(self) -> bool:
        """Wait until either side has something to send; return whether it is the peer."""
        if self.socket is None or not self._is_connected:
            time.sleep(LOOK_UP_S / 100)  # closed: pynetdicom's loop must not spin until it ends
            return False
        if self._early or (self._tls and self._tls.pending()):
            return True
        try:
            return self._wait()
        except (OSError, ValueError):  # closed meanwhile by another thread
            self.event_queue.put("Evt17")  # transport connection closed (PS3.8 table 9-2)
            return False

    def _wait(self) -> bool:
        if self._open.fileno() < 0:
            raise OSError("the socket is closed")
        # The queue's own deque, without its lock: an event that is overlooked now is found after
        # the wait.
        wait_s = 0 if self.event_queue.queue else LOOK_UP_S
        readable = {key.fileobj for key, _ in self._selector.select(wait_s)}
        if self._outgoing.rung in readable:
            self._outgoing.rung.recv(4096)
        if self._open not in readable:
            return False
        return self._decrypt(self._tls) if self._tls else True

    def _decrypt(self, tls: ssl.SSLSocket) -> bool:
        """Return whether data came, and not only a part of TLS's own talk.

        A session ticket makes the socket readable, too; waiting for data would then block the
        thread that has to send the association request (pynetdicom issue 364).
        """
        tls.settimeout(0)
        try:
            self._early += tls.recv(TLS_RECORD_BYTES)
        except ssl.SSLWantReadError:
            return False
        finally:
            tls.settimeout(self._timeout_s)
        return True

    def recv(self, nr_bytes: int) -> bytearray:
        """Return the next bytes, or fewer when the peer has closed the connection.

        pynetdicom's own asks for 4096 at a time, which costs a tenth of the throughput.

        Raises:
            OSError: they did not come in time, or the peer announced more than is allowed.
        """
        if nr_bytes > self._longest:
            raise ConnectionAbortedError(
                f"the peer announced {nr_bytes} bytes; at most {self._longest} are read"
            )
        if self.assoc.dimse.message is None:  # between two messages
            self._message = Allowance(self._timeout_s)
        self._message.use(nr_bytes)
        message = self.assoc.dimse.message
        if self._large is not None and message is not None and message.data_set is not None:
            message.data_set = self._large.moved(message.data_set)
        if not self._early:
            return read(self._open, nr_bytes, self._timeout_s)
        content = self._early[:nr_bytes]
        del self._early[:nr_bytes]
        if len(content) < nr_bytes:
            content += read(self._open, nr_bytes - len(content), self._timeout_s)
        return content

    def send(self, bytestream: bytes) -> None:
        """Send bytes; the first ones answer the association request."""
        super().send(bytestream)
        if self._turn is not None:
            self._turn.end()
            self._turn = None

    def _shutdown_socket(self) -> None:
        """Close everything; pynetdicom leaves a socket open if its peer was faster (issue 979)."""
        self._outgoing.close()
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()

    @property
    def _open(self) -> socket.socket:
        return cast(socket.socket, self.socket)

    @property
    def _tls(self) -> ssl.SSLSocket | None:
        return self.socket if isinstance(self.socket, ssl.SSLSocket) else None


class Allowance:
    """Time and size of one message, which a sender cannot stretch by sending little at a time."""

    def __init__(self, timeout_s: float) -> None:
        self._begun = time.monotonic()
        self._timeout_s = timeout_s
        self._bytes = 0

    def use(self, nr_bytes: int) -> None:
        """Count bytes that are about to be read.

        Raises:
            OSError: the message is too large, or has taken too long for what has come of it.
        """
        took_s = time.monotonic() - self._begun
        if took_s > self._timeout_s + self._bytes / SLOWEST_BYTES_PER_S:
            raise TimeoutError(f"{self._bytes} bytes of a message came within {took_s:.0f} s")
        self._bytes += nr_bytes
        if self._bytes > MESSAGE_BYTES:
            raise ConnectionAbortedError(f"a message has more than {MESSAGE_BYTES >> 20} MB")


def read(connection: socket.socket, size: int, timeout_s: float) -> bytearray:
    """Return the next `size` bytes, or fewer when the peer has closed the connection.

    Raises:
        OSError: they did not come within about `timeout_s`; single bytes do not extend it.
    """
    flags = 0 if isinstance(connection, ssl.SSLSocket) else socket.MSG_WAITALL
    deadline = time.monotonic() + timeout_s
    content = bytearray(size)
    filled = 0
    # The view ends before `del`: a bytearray cannot shrink while one refers to it.
    with memoryview(content) as room:
        while filled < size:
            came = connection.recv_into(room[filled:], 0, flags)
            if not came:
                break
            filled += came
            if filled < size and time.monotonic() > deadline:
                raise TimeoutError(f"{filled} of {size} bytes came within {timeout_s:g} s")
    del content[filled:]
    return content


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        each.close()


def _timeval(seconds: float) -> bytes:
    # `struct timeval` of the C library (socket(7), SO_RCVTIMEO).
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
