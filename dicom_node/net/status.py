"""Statuses that answer a C-STORE or STOW-RS, as errors."""

from dicom_node.errors import NodeError, PeerRefused, PeerUnavailable

MEANINGS = {
    0x0110: "processing failure",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0x0213: "resource limitation",
    0xA700: "out of resources",
    0xA900: "data set does not match SOP class",
    0xC000: "cannot understand",
}
"""Failures of C-STORE (PS3.4 table B.2-1, PS3.7 C) and of STOW-RS (PS3.18 I.2.2); the last eight
bits of A7xx, A9xx and the last twelve of Cxxx are free."""

TRANSIENT = {0x0110, 0x0213, 0xA700}
"""Failures of the peer's momentary state, not of the object."""


def is_stored(status: int) -> bool:
    """Return whether the peer has the object: success, or a warning (Bxxx, 0001, 0107, 0116)."""
    return status in (0x0000, 0x0001, 0x0107, 0x0116) or status >> 12 == 0xB


def error_for_status(peer: str, status: int) -> NodeError:
    """Return the error for a failure status.

    Error Comment (0000,0902) is not repeated: some archives name the patient in it.
    """
    kind = next(
        (known for known in (status, status & 0xFF00, status & 0xF000) if known in MEANINGS), 0
    )
    message = f"{peer} answered 0x{status:04X} ({MEANINGS.get(kind, 'a failure')})"
    if kind in TRANSIENT:
        return PeerUnavailable(message)
    return PeerRefused(f"{message}; see the peer's log for what it expects")
