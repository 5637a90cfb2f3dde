"""A connection that wakes its association when there is something to do, and not before.

pynetdicom looks at the wire and at its own queue once a millisecond, twice per slice: a third of
the throughput of 512x512 slices, and a core that never sleeps. Here one wait sees both.
"""

import contextlib
import queue
import select
import socket
import struct
import time
import weakref
from typing import Any, cast

from pynetdicom.events import Event
from pynetdicom.transport import AssociationSocket

LOOK_UP_S = 0.1
"""Longest wait; pynetdicom looks at its timers in between."""

ASSOCIATE_BYTES = 1 << 20
"""No association request is longer: they name transfer syntaxes, and no maximum binds them."""


def prepare_connection(event: Event, timeout_s: float, pdu_bytes: int) -> None:
    """Prepare a new connection: no read or write waits longer, and no PDU is much longer.

    One that cannot be prepared is closed: its waits would have no end.
    """
    dul = event.assoc.dul
    try:
        outgoing = WakingQueue()
    except OSError:  # too many files are open
        _give_up(cast(AssociationSocket, dul.socket))
        raise  # pynetdicom logs it
    wire = WakingSocket(
        cast(AssociationSocket, dul.socket), outgoing, max(pdu_bytes, ASSOCIATE_BYTES)
    )
    wire.limit(timeout_s)
    # At this moment nothing waits in the queue, and its thread does not wait for anything.
    dul.socket, dul.to_provider_queue, dul._run_loop_delay = wire, outgoing, 0


def _give_up(plain: AssociationSocket) -> None:
    connection = plain.socket
    plain.close()
    if connection is not None:
        connection.close()  # pynetdicom does not if the peer was faster


class WakingQueue(queue.Queue[Any]):
    """What this side wants to send; whoever waits for the wire is woken by it."""

    def __init__(self) -> None:
        super().__init__()
        self._bell, self.rung = socket.socketpair()
        for end in (self._bell, self.rung):
            end.setblocking(False)
        self.close = weakref.finalize(self, _close, self._bell, self.rung)
        """Ring no more; pynetdicom does not always say when an association has ended."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add one thing and ring."""
        super().put(item, block, timeout)
        with contextlib.suppress(OSError):  # rung more often than heard, or already closed
            self._bell.send(b"\0")


class WakingSocket(AssociationSocket):
    """An association's socket: waits for both sides, times every read, bounds every PDU."""

    def __init__(self, plain: AssociationSocket, outgoing: WakingQueue, longest: int) -> None:
        """Take the place of `plain`; `longest` bytes at most are read at once."""
        vars(self).update(vars(plain))  # its own would announce the connection once more
        self._outgoing = outgoing
        self._longest = longest

    def limit(self, timeout_s: float) -> None:
        """Let no read or write wait longer: a sender may stop in the middle of a PDU.

        These are the system's timeouts, not Python's, which would poll before every read.
        """
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._open.setsockopt(socket.SOL_SOCKET, option, _timeval(timeout_s))
        self._open.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def ready(self) -> bool:
        """Wait until either side has something to say; tell whether it is the peer."""
        if self.socket is None or not self._is_connected:
            time.sleep(LOOK_UP_S / 100)
            return False
        rung = self._outgoing.rung
        try:
            wait_s = 0 if self.event_queue.queue else LOOK_UP_S
            readable, _, _ = select.select([self.socket, rung], [], [], wait_s)
            if rung in readable:
                rung.recv(4096)
        except (OSError, ValueError):  # closed meanwhile
            self.event_queue.put("Evt17")
            return False
        return self.socket in readable

    def recv(self, nr_bytes: int) -> bytearray:
        """Return the next bytes, or fewer when the peer has gone.

        pynetdicom's own asks for 4096 at a time and loses a tenth by it.

        Raises:
            OSError: the peer fell silent, or announced more than may come.
        """
        return read(self._open, nr_bytes, self._longest)

    def _shutdown_socket(self) -> None:
        """Close everything, also when the peer was faster; pynetdicom's own would leave it open."""
        self._outgoing.close()
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()

    @property
    def _open(self) -> socket.socket:
        return cast(socket.socket, self.socket)


def read(connection: socket.socket, size: int, longest: int) -> bytearray:
    """Return the next `size` bytes, or fewer when the peer has gone.

    Raises:
        OSError: the peer fell silent, or announced more than `longest` bytes.
    """
    if size > longest:
        raise ConnectionAbortedError(f"a PDU of {size} bytes; at most {longest} are taken")
    content = bytearray(size)
    filled = 0
    with memoryview(content) as room:
        while filled < size:
            came = connection.recv_into(room[filled:], flags=socket.MSG_WAITALL)
            if not came:
                break
            filled += came
    del content[filled:]
    return content


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        each.close()


def _timeval(seconds: float) -> bytes:
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
