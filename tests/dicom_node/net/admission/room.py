"""A waiting room with callers of any address."""

import socket
from contextlib import ExitStack

from dicom_node.net.admission.association_request import HEADER_BYTES, PDU_TYPE
from dicom_node.net.admission.waiting_room import WaitingRoom
from tests.waiting import GENEROUS_S, wait_until


def request(size, content=b"\0"):
    """Return an association request of so many bytes, which cannot be negotiated."""
    header = bytes([PDU_TYPE, 0]) + (size - HEADER_BYTES).to_bytes(4, "big")
    return header + content * (size - HEADER_BYTES)


class Room:
    """A waiting room that admits connections to a list."""

    def __init__(self, **places):
        self.admitted = []

        def admit(connection, address):
            self.admitted.append(connection)

        self._room = WaitingRoom(admit, GENEROUS_S, **places)
        self._open = ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._room.close()
        self._open.close()

    def enter(self, host="192.0.2.1"):
        """Let a caller connect; return its end of the connection, and the room's."""
        theirs, ours = (self._open.enter_context(end) for end in socket.socketpair())
        theirs.settimeout(GENEROUS_S)
        self._room.enter(ours, (host, 1))
        return theirs, ours

    def ask(self, size):
        """Let a caller send a request of so many bytes; return the room's end of the connection."""
        theirs, ours = self.enter()
        theirs.sendall(request(size))
        return ours

    def wait_for(self, *connections):
        """Wait until these connections, and no others, have been admitted."""
        wait_until(lambda: len(self.admitted) >= len(connections))
        assert self.admitted == list(connections)

    def wait_until_queued(self, number):
        wait_until(lambda: len(self._room._long) == number)
