"""State of a series while its instances come in."""

from dataclasses import dataclass

from dicom_node.receive.events import Association

TRY_AGAIN_S, LONGEST_PAUSE_S = 5.0, 600.0
"""Pause, beside the quiet time, until a series that was not taken is offered again. It doubles
each time: a series that never will be taken must not fill the log."""

REFUSALS_WITHOUT_ROOM = 2
"""Refusals that count where the disk is full: 20 s of pause, so that all goes on soon after there
is room."""


@dataclass(frozen=True)
class IncomingSeries:
    """A series that is still coming in."""

    last_s: float
    """When its latest instance came, by the assembler's clock."""
    associations: frozenset[Association] = frozenset()
    """Associations that sent part of it and are still open."""
    refusals: int = 0
    """How often it was offered and not taken, since its latest instance came."""

    def refused(self, now_s: float, *, lacks_room: bool) -> "IncomingSeries":
        """Return it as it waits for its next offer; on a full disk it is offered again soon."""
        most = REFUSALS_WITHOUT_ROOM if lacks_room else self.refusals + 1
        return IncomingSeries(now_s + self.pause_s, refusals=min(self.refusals + 1, most))

    @property
    def pause_s(self) -> float:
        """Seconds until it is offered again, once it has not been taken again."""
        # The exponent is bounded, as a float overflows at 2.0 ** 1024.
        return min(TRY_AGAIN_S * 2.0 ** min(self.refusals, 10), LONGEST_PAUSE_S)

    @property
    def sending(self) -> bool:
        """Whether more may come without a new association."""
        # Asked of the threads, not of events: a thread that died told nobody.
        return any(association.is_alive() for association in self.associations)
