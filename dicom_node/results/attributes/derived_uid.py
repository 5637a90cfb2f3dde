"""UIDs that are derived by name: the same name always gives the same UID."""

import uuid

NAMESPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")
"""RFC 9562, appendix "Namespace IDs": names that are ISO object identifiers."""


def derived_uid(*made_of: str) -> str:
    """Return the UID of what these words name: 2.25 and a name-based UUID (PS3.5 B.2)."""
    # The joined text is a contract: another separator would give all known work new UIDs.
    return f"2.25.{uuid.uuid5(NAMESPACE, chr(10).join(made_of)).int}"
