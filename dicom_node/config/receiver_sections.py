"""Tables of the configuration that say where the node listens, and who may send to it."""

from typing import Self

import platformdirs
from pydantic import Field, IPvAnyNetwork, model_validator

from dicom_node.config.section import Section
from dicom_node.config.value_types import AeTitle, PeerName, UserPath
from dicom_node.net.callers import MOST_WEIGHT, Service
from dicom_node.net.tls.server_tls import ServerTlsFiles


class NodeSection(Section):
    """`[node]`: the node's name, address and data folder."""

    ae_title: AeTitle = "HEPAR"
    """AE title of the node; calls to any title are answered."""
    host: str = "127.0.0.1"
    """Address to listen on. One that other machines reach, such as "0.0.0.0", requires
    `[[callers]]` or `open`."""
    open: bool = False
    """Let anybody send who reaches the address, without `[[callers]]`."""
    port: int = Field(default=11112, ge=0, le=65535)
    """0 takes a free one."""
    data: UserPath = Field(default_factory=lambda: platformdirs.user_data_path("hepar"))
    """Folder of the spool, the results and the workflow store."""


class ReceiveSection(Section):
    """`[receive]`: receiving series."""

    quiet_s: float = Field(default=10.0, ge=0)
    """A series is complete after this many seconds without a new instance."""
    resend_s: float = Field(default=30.0, ge=0)
    """After a restart a received series waits this many seconds for a sender that was cut off."""
    ask: PeerName | None = None
    """Peer that is asked for the number of instances of a series (C-FIND or QIDO-RS), which is
    complete as soon as all are here, whoever keeps an association open; nobody when absent."""
    ask_after_s: float = Field(default=1.0, gt=0)
    """Seconds without a new instance before it is asked; more where senders pause for longer."""
    keep_free_mb: int = Field(default=2000, ge=0)
    """Refuse instances (0xA700) when the disk would have less than this left."""
    max_associations: int = Field(default=32, ge=1)
    """Associations open at the same time in one process; one more is rejected as transient."""
    processes: int = Field(default=1, ge=1, le=64)
    """Processes of `hepar receive` that share its port, on Linux alone; the HTTP ports of the
    second and further ones follow `http.port`. `hepar serve` is one process."""


class TlsSection(Section):
    """`[tls]`: DICOM TLS of the receiver; callers without it are not served then."""

    cert_file: UserPath | None = None
    """Certificate of the node with its chain, as PEM; there is no TLS without. It is read anew when
    the file changes."""
    key_file: UserPath | None = None
    """Its private key, unless `cert_file` holds both."""
    ca_file: UserPath | None = None
    """Authorities of the callers' certificates, as PEM; every caller must show one."""
    open: bool = False
    """Admit callers without a certificate, in place of `ca_file`."""

    @model_validator(mode="after")
    def _mutual(self) -> Self:
        """Refuse TLS without callers' certificates unless `open` is set."""
        if self.cert_file and not (self.ca_file or self.open):
            raise ValueError("callers need certificates: set ca_file, or open = true")
        return self

    @property
    def files(self) -> ServerTlsFiles | None:
        """The files, if there is to be TLS."""
        if self.cert_file is None:
            return None
        return ServerTlsFiles(self.cert_file, self.key_file, self.ca_file)


class CallerSection(Section):
    """`[[callers]]`: a caller that may send, and nobody else; the node itself always may."""

    ae_title: AeTitle
    """Calling AE title."""
    networks: tuple[IPvAnyNetwork, ...] = ()
    """Networks from which it calls, such as "10.1.0.0/16"; any when empty."""
    called: str = ""
    """AE title that it calls; any when empty."""
    may: frozenset[Service] = frozenset(Service)
    """What it may do: "store", "echo", "commitment" (report that it keeps results); all when
    absent."""
    certificate: str = ""
    """Name in its TLS certificate (alternative or common name), which it must show; any when empty.
    Needs `tls.ca_file`. Such a caller cannot send by STOW-RS."""
    rate: float | None = Field(default=None, ge=0.1, le=10_000)
    """Instances a second that it may send by C-STORE, and as many by STOW-RS; faster ones are
    answered later. No limit when absent."""
    weight: int = Field(default=1, ge=1, le=MOST_WEIGHT)
    """Its share of the work where series of several callers wait: of two with the weights 3 and 1,
    three series of the first are segmented for one of the second. Urgent ones are not counted."""
