"""The server of the receiver: its associations begin once their request is there."""

import contextlib
import errno
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.net.admission.waiting_room import LOOK_UP_S, WaitingRoom

NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}


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
