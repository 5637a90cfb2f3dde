"""TLS towards a peer: which certificates are trusted, and which one this node shows."""

import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dicom_node.errors import BadConfiguration

PROBE_S = 3.0
"""Longest wait for an answer to a TLS handshake that only probes."""


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of one peer, beside the certificates that the system trusts."""

    ca_file: Path | None = None
    """Further certificate authorities, such as the hospital's own."""
    cert_file: Path | None = None
    """Certificate of this node, for peers that ask for one."""
    key_file: Path | None = None
    """Its private key, unless `cert_file` holds both."""
    check_hostname: bool = True
    """Whether the peer's certificate must be issued for the configured host."""

    def context(self) -> ssl.SSLContext:
        """Return a context for calling the peer; the files are read anew each time.

        Raises:
            BadConfiguration: a file cannot be read, or is not PEM.
        """
        context = ssl.create_default_context()  # the system's trust, or SSL_CERT_FILE's
        context.check_hostname = self.check_hostname
        try:
            if self.ca_file:
                context.load_verify_locations(self.ca_file)
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file)
        except OSError as error:  # ssl.SSLError is one
            files = filter(None, (self.ca_file, self.cert_file, self.key_file))
            named, reason = ", ".join(map(str, files)), error.strerror or str(error)
            raise BadConfiguration(
                f"cannot use the certificates {named}: {reason}; name readable PEM files"
                " in ca_file, cert_file and key_file"
            ) from error
        return context


def speaks_tls(host: str, port: int) -> bool:
    """Return whether something at this address completes a TLS handshake, with any certificate.

    Called once a plain connection got no answer: the two cases look alike from outside.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent
    try:
        with socket.create_connection((host, port), PROBE_S) as plain:
            plain.settimeout(PROBE_S)
            with context.wrap_socket(plain, server_hostname=host):
                return True
    except ssl.SSLError as error:
        # A server that demands a client certificate ends the handshake with an alert of its own.
        return "ALERT" in (error.reason or "")
    except (OSError, ValueError):
        return False


def handshake_failure(host: str, port: int, context: ssl.SSLContext) -> str:
    """Return why a TLS handshake with this context fails, with a remedy; empty if it does not.

    pynetdicom only logs the reason, so the handshake is made once more without it.
    """
    try:
        with socket.create_connection((host, port), PROBE_S) as plain:
            plain.settimeout(PROBE_S)
            with context.wrap_socket(plain, server_hostname=host) as encrypted:
                return _alert(encrypted)
    except ssl.SSLError as error:
        return tls_reason(error)
    except (OSError, ValueError):
        return ""


def tls_reason(error: BaseException) -> str:
    """Return a TLS error in an administrator's words, with a remedy."""
    if message := getattr(error, "verify_message", ""):
        return (
            f"its certificate is not trusted ({message}); name the certificate authority in"
            " ca_file, or a host that the certificate is issued for"
        )
    if "CERTIFICATE_REQUIRED" in str(error) or "HANDSHAKE_FAILURE" in str(error):
        return "it ended the TLS handshake; it may demand a client certificate: set cert_file"
    return "no TLS there; check the port, or do without TLS"


def _alert(encrypted: ssl.SSLSocket) -> str:
    """Return why the peer closes at once; with TLS 1.3 a refused client learns it at a read."""
    # A healthy peer says nothing here, so this is waited out at every check of one.
    encrypted.settimeout(PROBE_S / 10)
    try:
        encrypted.recv(1)
    except ssl.SSLError as error:
        return tls_reason(error)
    except OSError:  # it waits for a request: all is well
        return ""
    return ""


def certificate_expiry(host: str, port: int, context: ssl.SSLContext) -> datetime | None:
    """Return when the certificate of a peer ends; None if there is no TLS that is trusted."""
    try:
        with socket.create_connection((host, port), PROBE_S) as plain:
            plain.settimeout(PROBE_S)
            with context.wrap_socket(plain, server_hostname=host) as encrypted:
                certificate = encrypted.getpeercert() or {}
    except (OSError, ValueError):
        return None
    end = certificate.get("notAfter")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(end)), UTC) if end else None
