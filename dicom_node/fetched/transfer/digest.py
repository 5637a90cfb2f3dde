"""SHA-256 of files, and its form in HTTP headers (RFC 9530)."""

import base64
import binascii
import hashlib
from pathlib import Path

ALGORITHM = "sha-256"


def digest_of(path: Path) -> str:
    """Return the digest of a file in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_header(digest: str) -> str:
    """Return a digest as `Repr-Digest` and `Content-Digest` have it."""
    return f"{ALGORITHM}=:{base64.b64encode(bytes.fromhex(digest)).decode()}:"


def from_header(value: str) -> str:
    """Return the digest in such a header in hexadecimal; empty where it holds none."""
    # A dictionary of structured fields (RFC 8941 3.2): other algorithms may stand beside.
    for member in value.split(","):
        name, _, digest = member.strip().partition("=")
        if name == ALGORITHM and len(digest) > 2 and digest[0] == digest[-1] == ":":
            try:
                return base64.b64decode(digest[1:-1], validate=True).hex()
            except binascii.Error:
                return ""
    return ""
