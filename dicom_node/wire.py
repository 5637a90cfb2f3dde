"""A connection as the receiver needs it: timed on every read, of bounded size, and quick.

pynetdicom leaves a new connection as the system made it. What is changed here was measured with
300 slices of 512x512 from one sender.
"""

import contextlib
import socket
import struct
from functools import partial
from typing import cast

from pynetdicom.events import Event
from pynetdicom.transport import AssociationSocket

POLL_S = 0.0002
"""Pause of pynetdicom's loop on the wire. Its own 1 ms, twice per slice, takes a third of the
throughput; an idle association costs a tenth of a core more with this, until its timeout."""

ASSOCIATE_BYTES = 1 << 20
"""No association request is longer: they name transfer syntaxes, and no maximum binds them."""


class Connection(socket.socket):
    """A socket that pynetdicom closes also when the peer was faster.

    It calls `shutdown` and `close` in one breath: where the first fails, the second never happens.
    """

    def shutdown(self, how: int) -> None:
        """Shut down as far as there is anything left to shut down."""
        with contextlib.suppress(OSError):
            super().shutdown(how)


def on_connection(event: Event, timeout_s: float, pdu_bytes: int) -> None:
    """Prepare a new connection: no read or write waits longer, and no PDU is much longer."""
    wire = cast(AssociationSocket, event.assoc.dul.socket)
    connection = Connection(fileno=cast(socket.socket, wire.socket).detach())
    # Without these a sender that stops in the middle of a PDU is waited for for ever. They are the
    # system's timeouts, not Python's, which would poll before every read.
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, _timeval(timeout_s))
    wire.socket = connection
    wire.recv = partial(  # type: ignore[method-assign]
        read, connection, longest=max(pdu_bytes, ASSOCIATE_BYTES)
    )
    event.assoc.dul._run_loop_delay = POLL_S


def read(connection: socket.socket, size: int, longest: int) -> bytearray:
    """Return the next `size` bytes, or fewer when the peer has gone.

    In the place of pynetdicom's own, which asks for 4096 at a time and loses a tenth by it.

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


def _timeval(seconds: float) -> bytes:
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
