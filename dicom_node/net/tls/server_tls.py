"""TLS of the receiver: its certificate, the callers' certificates, and their renewal."""

import logging
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

from dicom_node.errors import BadConfiguration

logger = logging.getLogger(__name__)

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"
"""Suites with forward secrecy and authenticated encryption, as the modified BCP 195 profile asks
(PS3.15 B.12); those of TLS 1.3 are all of this kind."""


@dataclass(frozen=True)
class ServerTlsFiles:
    """PEM files of the receiver."""

    cert_file: Path
    """Its certificate, with the chain."""
    key_file: Path | None = None
    """Its private key, unless `cert_file` holds both."""
    ca_file: Path | None = None
    """Authorities of the callers' certificates; without them callers need none."""

    def context(self) -> ssl.SSLContext:
        """Return a context made from the files as they are now; TLS 1.2 and 1.3.

        Raises:
            BadConfiguration: a file cannot be read, or is not PEM.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        try:
            context.load_cert_chain(self.cert_file, self.key_file)
            if self.ca_file:
                context.load_verify_locations(self.ca_file)
                context.verify_mode = ssl.CERT_REQUIRED
        except OSError as error:  # ssl.SSLError is one
            named = ", ".join(str(file) for file in self._files)
            raise BadConfiguration(
                f"cannot use the certificates {named}: {error.strerror or error}; name readable PEM"
                " files in tls.cert_file, tls.key_file and tls.ca_file"
            ) from error
        return context

    def changed_at(self) -> tuple[float, ...]:
        """Return when each file was last changed; 0 where it is not there."""
        # 0: in the middle of a renewal a file may be gone for a moment.
        return tuple(file.stat().st_mtime if file.exists() else 0.0 for file in self._files)

    @property
    def _files(self) -> tuple[Path, ...]:
        return tuple(file for file in (self.cert_file, self.key_file, self.ca_file) if file)


class ServerTls:
    """The receiver's current context; renewed certificates are taken up without a restart."""

    def __init__(self, files: ServerTlsFiles) -> None:
        """Read the files.

        Raises:
            BadConfiguration: as `ServerTlsFiles.context`.
        """
        self._files = files
        # For both attributes below, which belong together.
        self._lock = threading.Lock()
        # Before the files are read: a change in between is then noticed at the next call.
        self._read_at = files.changed_at()
        self._context = files.context()

    def __call__(self) -> ssl.SSLContext:
        """Return the context for the next caller; the last good one while new files are broken."""
        with self._lock:
            changed_at = self._files.changed_at()
            if changed_at != self._read_at:
                # Also if they turn out to be broken: they are tried again when they change once
                # more.
                self._read_at = changed_at
                try:
                    self._context = self._files.context()
                except BadConfiguration as error:
                    logger.error("certificates kept: %s", error, extra={"action": "tls"})
                else:
                    logger.info("certificates read anew", extra={"action": "tls"})
            return self._context
