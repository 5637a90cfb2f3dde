"""How associations end: each with its connection, and all of a receiver's with the receiver.

pynetdicom alone goes on waiting for what can no longer come, or may never.
"""

import contextlib
import socket
import time
from collections.abc import Iterable
from typing import Any

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.events import Event

SETTLE_S = 1.0
"""How long peers and pynetdicom's threads get to take note of what happened."""

AWAITING_REQUEST = "Sta2"
"""State of a connection before its association request has come (PS3.8 9.2.1)."""


def end_unrequested(event: Event) -> None:
    """Let an association that never began end with its connection.

    Otherwise it waits for its request until `acse_timeout`, and counts as open: a health check each
    second, by connecting and no more, would leave no room for senders.
    """
    dul = event.assoc.dul
    if dul.state_machine.current_state == AWAITING_REQUEST:
        nothing: Any = None  # is what it finds there when its time is over
        dul.to_user_queue.put(nothing)


class ImmediateShutdownAE(AE):
    """An application entity that ends at once, also where a peer does not answer."""

    def shutdown(self) -> None:
        """Abort what is open and end.

        A peer that stopped in the middle of what it says would be waited for otherwise, for as long
        as for any that is silent.
        """
        still = self.active_associations
        for association in still:
            if association.is_established:
                association.abort(block=False)
            else:
                close_connection(association)
        _join(still)
        for association in still:
            close_connection(association)
        _join(still)
        super().shutdown()


def close_connection(association: Association) -> None:
    """Let reading and writing end; the thread that does it closes what is left, if it lives."""
    wire = association.dul.socket
    connection = wire.socket if wire is not None else None
    if wire is None or connection is None:
        return
    with contextlib.suppress(OSError):  # closed meanwhile
        connection.shutdown(socket.SHUT_RDWR)
    if not association.dul.is_alive():
        wire.close()


def _join(associations: Iterable[Association]) -> None:
    deadline = time.monotonic() + SETTLE_S
    for association in associations:
        association.join(max(0.0, deadline - time.monotonic()))
