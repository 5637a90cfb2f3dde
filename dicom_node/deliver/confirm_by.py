"""Ways of a C-STORE peer to confirm an object before its delivery counts."""

from enum import StrEnum


class ConfirmBy(StrEnum):
    """Means by which a peer confirms an object."""

    AUTO = "auto"
    """Storage commitment, else a query; a peer that refuses both is accepted, not verified."""
    COMMITMENT = "commitment"
    FIND = "find"
    NONE = "none"
