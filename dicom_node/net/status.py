"""Statuses that answer a C-STORE or STOW-RS, as errors."""

from dicom_node.errors import NodeError, PeerRefused, PeerUnavailable
from dicom_node.net.error_comment import safe_comment

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

OWN_REASONS = range(0xA770, 0xA780)
"""dcm4chee uses these within A7xx when an object or its patient is refused for good: "patient
differs", "rejected by a person" (dcm4chee-arc-light 1990, 5001)."""

DUPLICATE_INSTANCE = 0x0111
"""The peer has the object already (PS3.7 C.5.7)."""

COERCED = 0xB000
"""Warning: stored with other values, perhaps under another UID (PS3.4 table B.2-1)."""


def is_stored(status: int) -> bool:
    """Return whether the peer has the object: success, or a warning (Bxxx, 0001, 0107, 0116)."""
    return status in (0x0000, 0x0001, 0x0107, 0x0116) or status >> 12 == 0xB


def error_for_status(peer: str, status: int, comment: str = "") -> NodeError:
    """Return the error for a failure status.

    Args:
        peer: its name.
        status: as the peer answered.
        comment: its Error Comment (0000,0902), more specific than an archive's private status.
    """
    own = status in OWN_REASONS
    # From the code itself to its kind: A7xx, then Cxxx.
    kind = next(
        (known for known in (status, status & 0xFF00, status & 0xF000) if known in MEANINGS), 0
    )
    meaning = "a reason of its own" if own else MEANINGS.get(kind, "a failure")
    shown = safe_comment(comment)
    message = f"{peer} answered 0x{status:04X} ({meaning})" + (f': "{shown}"' if shown else "")
    if kind in TRANSIENT and not own:
        return PeerUnavailable(message)
    return PeerRefused(f"{message}; see the peer's log for what it expects")
