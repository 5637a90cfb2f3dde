"""Certificates in PEM files: how long they are valid."""

from datetime import UTC, datetime
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificates

from dicom_node.errors import BadConfiguration

EXPIRES_SOON_DAYS = 30
"""Days before its end in which a certificate counts as a fault."""


def valid_until(path: Path, *, chain: bool) -> datetime:
    """Return when a PEM file stops to serve.

    Args:
        path: one or more certificates; a private key beside them is passed over.
        chain: whether all of them are needed, as in a chain; otherwise each is an authority, and
            the last to end counts.

    Raises:
        BadConfiguration: it cannot be read, or holds no certificate.
    """
    try:
        found = load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds no PEM certificate"
        raise BadConfiguration(f"cannot read {path}: {reason}; name a PEM file") from error
    ends = [each.not_valid_after_utc for each in found]
    # A chain breaks with its first link; of authorities, one that ends is often beside its
    # successor.
    return min(ends) if chain else max(ends)


def days_left(end: datetime) -> int:
    """Return the whole days until a certificate ends; negative once it has ended."""
    return (end - datetime.now(UTC)).days
