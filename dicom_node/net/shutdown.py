"""End of associations: each ends with its connection, and all end with their receiver.

pynetdicom alone waits for messages that can no longer come; see docs/upstream.md.
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
"""Time for peers and pynetdicom's threads to notice what happened."""

AWAITING_REQUEST, AWAITING_CLOSE = "Sta2", "Sta13"
"""States of a connection before its association request has come, and after an abort (PS3.8 9.2.1),
which is also the answer to a request that cannot be read."""


def end_unrequested(event: Event) -> None:
    """End an association that never began, together with its connection (EVT_CONN_CLOSE).

    Otherwise it waits for its request until `acse_timeout`, and counts as open: a health check each
    second that only connects would leave no room for senders (pynetdicom issue 669), nor would a
    damaged request.
    """
    dul = event.assoc.dul
    never_asked = event.assoc.requestor.primitive is None
    if never_asked and dul.state_machine.current_state in (AWAITING_REQUEST, AWAITING_CLOSE):
        nothing: Any = None  # as after a timeout
        dul.to_user_queue.put(nothing)


class ImmediateShutdownAE(AE):
    """An application entity that shuts down at once, also where a peer does not answer."""

    def shutdown(self) -> None:
        """Abort what is open and end.

        pynetdicom's own waits for each peer in turn, up to its network timeout: one that stopped
        in the middle of a PDU does not read the abort.
        """
        # A list of the moment: associations leave pynetdicom's own while it is walked over.
        still = self.active_associations
        for association in still:
            if association.is_established:
                association.abort(block=False)
            else:
                close_connection(association)
        _join(still)
        # A peer that did not read the abort keeps its thread in a read, which only this ends.
        for association in still:
            close_connection(association)
        _join(still)
        super().shutdown()


def close_connection(association: Association) -> None:
    """End reading and writing; the association's thread closes the rest, if it still runs."""
    wire = association.dul.socket
    connection = wire.socket if wire is not None else None
    if wire is None or connection is None:
        return
    with contextlib.suppress(OSError):  # closed meanwhile
        # Not `connection.shutdown`: an SSLSocket's takes the TLS state away from its reader.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    if not association.dul.is_alive():
        wire.close()


def _join(associations: Iterable[Association]) -> None:
    # One deadline for all of them: a second for each would add up.
    deadline = time.monotonic() + SETTLE_S
    for association in associations:
        association.join(max(0.0, deadline - time.monotonic()))
