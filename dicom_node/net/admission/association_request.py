"""An association request (A-ASSOCIATE-RQ, PS3.8 9.3.2) that comes by a new connection."""

import socket
from dataclasses import dataclass, field
from typing import Any

PDU_TYPE = 0x01
HEADER_BYTES = 6
MOST_BYTES = 1 << 18
"""Longest request: 128 presentation contexts with every transfer syntax take 200 kB."""

LONG_BYTES = 2048
"""A longer request, of 25 presentation contexts or so, takes long to negotiate: with 128, as
DCMTK's storescu proposes, an association of one instance takes 32 ms of processor time, with one
context 14."""

Address = tuple[Any, ...]
"""Of a socket: host and port first."""


@dataclass(eq=False)
class AssociationRequest:
    """A connection, and what has come of its association request."""

    connection: socket.socket
    address: Address
    deadline: float
    """Until when it must have come whole, by `time.monotonic`."""
    received: bytearray = field(default_factory=bytearray)

    @property
    def host(self) -> str:
        """The address that it comes from, without its port."""
        return str(self.address[0])

    @property
    def is_whole(self) -> bool:
        """Whether it has come whole.

        Raises:
            ConnectionAbortedError: it is no association request, or too long.
        """
        if self.received and self.received[0] != PDU_TYPE:
            raise ConnectionAbortedError
        if len(self.received) < HEADER_BYTES:
            return False
        length = int.from_bytes(self.received[2:HEADER_BYTES], "big")
        if length > MOST_BYTES:
            raise ConnectionAbortedError
        return len(self.received) >= HEADER_BYTES + length

    @property
    def is_long(self) -> bool:
        """Whether it takes long to negotiate."""
        return len(self.received) > LONG_BYTES
