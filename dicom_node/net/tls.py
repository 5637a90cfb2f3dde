"""TLS towards a peer: which certificates are trusted, and which one this node shows."""

import socket
import ssl
from dataclasses import dataclass
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
            files = ", ".join(str(each) for each in (self.ca_file, self.cert_file, self.key_file) if each)
            raise BadConfiguration(
                f"cannot use the certificates {files}: {error.strerror or error}; name readable PEM"
                " files in ca_file, cert_file and key_file"
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
