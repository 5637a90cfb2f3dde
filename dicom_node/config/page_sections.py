"""Tables of the configuration for who watches the node: page, viewer, alerts and audit trail."""

import ipaddress
from typing import Self

from pydantic import Field, IPvAnyNetwork, SecretStr, model_validator

from dicom_node.audit.trail import Destination
from dicom_node.config.section import Section
from dicom_node.config.value_types import (
    HostAndPort,
    UserPath,
    ViewerUrl,
    host_and_port,
    is_loopback,
)
from dicom_node.net.tls.client_tls import TlsFiles


class HttpSection(Section):
    """`[http]`: the operator's page, health, metrics and the state of jobs."""

    host: str = "127.0.0.1"
    """Address to listen on. One that other machines reach requires a login (`token`,
    `user_header`), or `open`."""
    port: int | None = Field(default=None, ge=0, le=65535)
    """There is no web server without a port; 0 takes a free one."""
    names: tuple[str, ...] = ()
    """Host names under which it is reached. IP addresses and localhost always work; any other name
    is refused, so that no page of another site can read it (DNS rebinding)."""
    token: SecretStr | None = None
    """Password for reading, and for changes such as "retry"; any user name goes with it. There are
    no changes without it or `user_header`."""
    user_header: str | None = None
    """Header in which a reverse proxy names the user who logged in there, such as X-Remote-User."""
    proxies: tuple[IPvAnyNetwork, ...] = (
        ipaddress.IPv4Network("127.0.0.1/32"),
        ipaddress.IPv6Network("::1/128"),
    )
    """Networks whose `user_header` is believed."""
    open: bool = False
    """Let anybody read who reaches the address; changes still require a login."""
    show_patient: bool = False
    """Show accession number and study (UID, date, description) to those who logged in; to nobody
    when false. The patient's name and ID are never shown."""
    stuck_s: float = Field(default=900.0, gt=0)
    """Not healthy when for so many seconds a job has waited and none is computed, one that is
    computed makes no progress, or a complete series is not taken."""
    peer_failing_s: float = Field(default=3600.0, gt=0)
    """Not ready when a result has waited for its delivery for so many seconds."""
    try_mb: int = Field(default=2000, ge=0)
    """Largest upload at the page's "Try", as it comes and unpacked; 0: there is no such page."""
    try_keep_h: float = Field(default=24.0, gt=0)
    """Hours for which results of uploads are kept; the uploaded files go as soon as these exist."""

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        """Refuse an address that others reach, without a login."""
        guarded = self.token or self.user_header or self.open
        if self.port is not None and not guarded and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} can be reached by others, and nobody has to log in; set"
                " HEPAR_HTTP__TOKEN in the environment, or user_header behind a reverse proxy, or"
                " open = true"
            )
        if self.show_patient and not (self.token or self.user_header):
            raise ValueError(
                "show_patient = true shows studies to those who logged in, and nobody can; set"
                " HEPAR_HTTP__TOKEN in the environment, or user_header behind a reverse proxy"
            )
        return self


class ViewerSection(Section):
    """`[viewer]`: the viewer that opens results."""

    url: ViewerUrl | None = None
    """Address that shows a SEG, with `{study}` and `{series}` for its UIDs, in this order."""
    correct_url: ViewerUrl | None = None
    """Address at which a SEG is corrected, in the same form; OHIF's segmentation mode is one."""


class AlertsSection(Section):
    """`[alerts]`: messages when the node is not ready, or a delivery failed."""

    webhook: SecretStr | None = None
    """Address that takes each message as JSON by POST, such as that of a chat room."""
    mail_to: tuple[str, ...] = ()
    """Addresses that get each message as mail."""
    mail_from: str = "hepar@localhost"
    """Sender of the mail."""
    smtp_host: str = "localhost"
    """Mail server."""
    smtp_port: int = Field(default=25, ge=1, le=65535)
    """Its port."""
    smtp_tls: bool = False
    """Whether to speak TLS with it (STARTTLS), with the system's authorities."""
    smtp_user: str = ""
    """User to log in as, where `smtp_password` is set."""
    smtp_password: SecretStr | None = None
    """Password of `smtp_user`."""
    every_s: float = Field(default=30.0, gt=0)
    """Seconds between looks."""
    after_s: float = Field(default=120.0, ge=0)
    """Seconds that a check must have failed before a message is sent; failed deliveries are
    reported at once."""


class AuditSection(Section):
    """`[audit]`: the audit trail, as DICOM audit messages (PS3.15 A.5)."""

    file: UserPath | None = None
    """File that takes each message as one line of XML; nobody else may read it."""
    file_mb: int = Field(default=10, ge=1)
    """Size at which the file is put aside, as `file.1`, for a new one."""
    files: int = Field(default=100, ge=1)
    """Files put aside that are kept; the oldest is removed."""
    syslog: HostAndPort | None = None
    """Syslog server that takes each message over TLS (RFC 5425), such as "logs.example:6514"."""
    ca_file: UserPath | None = None
    """Authority of the server's certificate, as PEM, beside those that the system trusts."""
    cert_file: UserPath | None = None
    """Certificate of the node, as PEM, for a server that asks for one."""
    key_file: UserPath | None = None
    """Its private key, unless `cert_file` holds both."""

    @property
    def destination(self) -> Destination:
        """Where the trail goes."""
        tls = TlsFiles(self.ca_file, self.cert_file, self.key_file)
        syslog = host_and_port(self.syslog) if self.syslog else None
        return Destination(self.file, self.file_mb * 1_000_000, self.files, syslog, tls)
