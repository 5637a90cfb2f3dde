"""Syslog over TLS (RFC 5425): messages by RFC 5424, counted in octets."""

import contextlib
import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from dicom_node.errors import BadConfiguration

logger = logging.getLogger(__name__)

PRIORITY = 10 * 8 + 5
"""Facility security/authorization (10), severity notice (5), as PS3.15 A.6 says."""
MESSAGE_ID = "DICOM+RFC3881"
"""MSGID of audit messages (PS3.15 A.6)."""
BOM = "\ufeff"
"""Marks the message as UTF-8 (RFC 5424 6.4)."""
TIMEOUT_S = 10.0
"""For the connection, the handshake and each message."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Between two tries to reach the server; doubles each time."""


class SyslogHandler(logging.Handler):
    """Sends each record over one connection, which it opens anew when it breaks.

    A message that is not taken is tried again until `give_up` is called; the caller's queue holds
    the others meanwhile.
    """

    def __init__(
        self,
        address: tuple[str, int],
        context: Callable[[], ssl.SSLContext],
        on_lost: Callable[[], None] = lambda: None,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        """Call nobody yet.

        Args:
            address: host and port of the server.
            context: returns the TLS context of the next connection.
            on_lost: called for each message that is given up.
            first_pause_s: between the first two tries to send a message.
        """
        super().__init__()
        self._address = address
        self._context = context
        self._on_lost = on_lost
        self._first_pause_s = first_pause_s
        self._connection: ssl.SSLSocket | None = None
        self._stopping = threading.Event()
        self._unreachable = False

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; return once it is sent, or the handler was asked to give up."""
        # The time of the event, which may be long past when the server takes it.
        frame = to_frame(record.getMessage(), datetime.fromtimestamp(record.created, UTC))
        pause_s = self._first_pause_s
        # Both: at the end, a server that answers still gets all that waits.
        while not (self._stopping.is_set() and self._unreachable):
            try:
                self._send(frame)
            # ValueError: a host name that cannot be encoded; the certificates are read anew.
            except (OSError, ValueError, BadConfiguration) as error:
                self._note_failure(error)
                # Not a sleep: `give_up` ends it.
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self._unreachable = False
                return
        self._on_lost()

    def give_up(self) -> None:
        """Try each message that is left once, until one is not taken."""
        self._stopping.set()

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            with contextlib.suppress(OSError):  # close_notify (RFC 5425 4.4); few servers answer it
                # The end of the node waits for it.
                self._connection.settimeout(0.5)
                self._connection.unwrap()
        self._disconnect()
        super().close()

    def _send(self, frame: bytes) -> None:
        if self._connection is not None and _is_closed(self._connection):
            self._disconnect()
        if self._connection is None:
            self._connection = self._connect()
        try:
            self._connection.sendall(frame)
        except OSError:
            self._disconnect()
            raise

    def _connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(self._address, TIMEOUT_S)
        try:
            return self._context().wrap_socket(plain, server_hostname=self._address[0])
        # Also a signal within the handshake: nothing else refers to the socket.
        except BaseException:
            plain.close()
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _note_failure(self, error: Exception) -> None:
        """Log that the server cannot be reached, once until it is."""
        if not self._unreachable:
            self._unreachable = True
            logger.warning(
                "the audit server %s:%d takes no message, will be tried again: %s",
                *(*self._address, error),
                extra={"action": "audit_failed"},
            )


def to_frame(message: str, at: datetime) -> bytes:
    """Return a message as RFC 5425 4.3 sends it: its length in octets, a space, and RFC 5424."""
    time = at.isoformat(timespec="milliseconds")
    header = f"<{PRIORITY}>1 {time} {socket.gethostname()} hepar {os.getpid()} {MESSAGE_ID} -"
    # Encoded before it is counted: RFC 5425 counts octets, not letters.
    whole = f"{header} {BOM}{message}".encode()
    return b"%d %s" % (len(whole), whole)


def _is_closed(connection: ssl.SSLSocket) -> bool:
    """Return whether the server has ended the connection; it never sends anything otherwise.

    Without this look the first message after a restart of the server would be lost: TCP takes it.
    """
    connection.settimeout(0)
    try:
        return not connection.recv(1)
    except ssl.SSLWantReadError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(TIMEOUT_S)
