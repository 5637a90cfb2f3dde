"""What a C-STORE peer is asked for, before a result counts as delivered."""

from enum import StrEnum


class ConfirmBy(StrEnum):
    """How it is to confirm that it keeps what it took."""

    AUTO = "auto"
    """Storage commitment, else a search; one that does neither is taken at its word."""
    COMMITMENT = "commitment"
    FIND = "find"
    NONE = "none"
