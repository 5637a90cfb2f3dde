"""The node's configuration: one TOML file, read once, passed on in parts as plain values.

Every key has a default, so `hepar serve` runs without a file. Any key can also come from the
environment as `HEPAR_<SECTION>__<KEY>`, which wins over the file; secrets come from there only.
"""

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

import platformdirs
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from dicom_node.audit.trail import Destination
from dicom_node.config.error_messages import misplaced_secrets, validation_messages
from dicom_node.config.peers import FolderSettings, PeerSettings
from dicom_node.config.value_types import (
    AeTitle,
    HostAndPort,
    PeerName,
    UserPath,
    ViewerUrl,
    host_and_port,
)
from dicom_node.errors import BadConfiguration
from dicom_node.net.callers import Service
from dicom_node.net.tls.client_tls import TlsFiles
from dicom_node.net.tls.server_tls import ServerTlsFiles
from dicom_node.results.objects import ObjectKind
from dicom_node.selection.rules import PriorityRules, Rules

CONFIG_FILE = platformdirs.user_config_path("hepar") / "hepar.toml"
"""Read when no other file is named, if it exists."""


class Section(BaseModel):
    """A table of the file: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
    """Associations open at the same time; one more is rejected as transient."""


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
        if self.port is not None and not guarded and not _is_loopback(self.host):
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


class EngineSection(Section):
    """`[engine]`: model and device."""

    model: UserPath | None = None
    """Model folder, or the name of a model that ships with the package, as `hepar model list` lists
    them; `base` when absent."""
    threads: int | None = Field(default=None, ge=1)
    """Threads for computing on the processor; as many as it has cores when absent."""
    plans: UserPath | None = None
    """Folder of TensorRT plans; `plans` in the data folder when absent."""


class JobsSection(Section):
    """`[jobs]`: storage, retention and retries of jobs."""

    database: SecretStr | None = None
    """`postgresql://…` when several machines share it; SQLite in the data folder otherwise."""
    at_once: int | None = Field(default=None, ge=1)
    """Series worked on at the same time, beside an urgent one; each takes the memory of its volume.
    When absent, 2 where a GPU computes, so that one is read or written meanwhile; otherwise 1."""
    keep_hours: float = Field(default=24.0, ge=0)
    """Hours that received files and results of a finished series are kept."""
    keep_failed_days: float = Field(default=14.0, ge=0)
    """Days that the files of a series are kept that was refused or failed, or has no job."""
    keep_jobs_days: float = Field(default=90.0, ge=0)
    """Days that a job is listed after it has ended; its files are gone by then."""
    keep_delivered_days: float = Field(default=90.0, ge=0)
    """Days that results are kept in `delivered`, the destination where no peer is configured."""
    first_pause_s: float = Field(default=5.0, gt=0)
    """Seconds between the first failed delivery and the next attempt; each failure doubles them."""
    longest_pause_s: float = Field(default=600.0, gt=0)
    """Longest pause in seconds."""
    give_up_days: float = Field(default=7.0, gt=0)
    """Days after which a delivery fails, until someone retries it."""


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="HEPAR_", env_nested_delimiter="__"
    )

    node: NodeSection = NodeSection()
    receive: ReceiveSection = ReceiveSection()
    select: Rules = Rules()
    engine: EngineSection = EngineSection()
    jobs: JobsSection = JobsSection()
    urgent: PriorityRules = PriorityRules()
    tls: TlsSection = TlsSection()
    callers: tuple[CallerSection, ...] = ()
    """Callers that may send to the receiver; without any, it serves this machine alone, unless
    `node.open` says otherwise."""
    http: HttpSection = HttpSection()
    viewer: ViewerSection = ViewerSection()
    alerts: AlertsSection = AlertsSection()
    audit: AuditSection = AuditSection()
    peers: dict[PeerName, Annotated[PeerSettings, Field(discriminator="kind")]] = {}
    """Destinations of results, by name; without any, a folder beside the spool."""

    @model_validator(mode="after")
    def _asked(self) -> Self:
        """Refuse a peer to be asked that is none, or cannot answer."""
        name = self.receive.ask
        # None: there is no peer of that name.
        if name is not None and isinstance(self.peers.get(name), FolderSettings | None):
            able = [each for each, peer in self.peers.items() if peer.kind != "folder"]
            raise ValueError(
                f"receive.ask is {name!r}, which is no archive among the peers; name one of kind"
                f" store or stow ({', '.join(able) or 'there is none'})"
            )
        return self

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        """Refuse an address that others reach, without `[[callers]]` and without `open`."""
        node = self.node
        if not (self.callers or node.open or _is_loopback(node.host)):
            raise ValueError(
                f"node.host {node.host} can be reached by others, and nobody says who may send;"
                " name each sender in [[callers]] (ae_title, networks), or set node.open = true"
            )
        return self

    @model_validator(mode="after")
    def _identified(self) -> Self:
        """Refuse callers that are known by certificates, where nobody has to show one."""
        named = [each.ae_title for each in self.callers if each.certificate]
        if named and not (self.tls.cert_file and self.tls.ca_file):
            raise ValueError(
                f"callers {', '.join(named)} are known by their certificates, and no caller has to"
                " show one; set tls.cert_file and tls.ca_file"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file; there is no other source."""
        return env_settings, init_settings

    @property
    def destinations(self) -> dict[str, PeerSettings]:
        """The peers, or the embedded default: the folder `delivered` in the data folder."""
        return self.peers or {
            "folder": FolderSettings(
                kind="folder",
                folder=self.node.data / "delivered",
                objects=(ObjectKind.SEG, ObjectKind.REPORT),
            )
        }

    @property
    def database_url(self) -> str:
        """URL of the workflow store; it may hold a password, so it must never be logged."""
        if self.jobs.database is not None:
            return self.jobs.database.get_secret_value()
        # Absolute: a relative path would lie elsewhere for a command that is started elsewhere.
        return f"sqlite:///{self.node.data.resolve() / 'jobs.sqlite'}"


def load_settings(file: Path | None = None, **changes: dict[str, Any]) -> Settings:
    """Read the configuration from `file`, or from `CONFIG_FILE` if that exists.

    Args:
        file: the TOML file.
        changes: sections whose keys replace the file's, as command-line options do.

    Raises:
        BadConfiguration: names every wrong key and its remedy.
    """
    chosen = file or (CONFIG_FILE if CONFIG_FILE.exists() else None)
    tables = _read_toml(chosen) if chosen else {}
    if secrets := misplaced_secrets(Settings, tables):
        raise BadConfiguration(f"{chosen}: " + "; ".join(secrets))
    for section, keys in changes.items():
        tables[section] = {**tables.get(section, {}), **keys}
    try:
        return Settings(**tables)
    except SettingsError:  # its message would show the value
        raise BadConfiguration(
            "the environment names a whole table, such as HEPAR_NODE, and it is not JSON; name one"
            " key, as in HEPAR_NODE__PORT"
        ) from None
    except ValidationError as error:
        raise BadConfiguration(
            f"{chosen or 'environment'}: " + "; ".join(validation_messages(Settings, error))
        ) from None  # pydantic's message would show the values, secrets among them


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfiguration(
            f"cannot read {file}: {error.strerror}; name a TOML file that exists and is readable"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfiguration(f"{file} is not TOML: {error}; correct that line") from error
