"""The node's configuration: one TOML file, read once, passed on in parts as plain values.

Every key has a default, so `hepar serve` runs without a file. Any key can also come from the
environment as `HEPAR_<SECTION>__<KEY>`, which wins over the file; secrets come from there only.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

import platformdirs
from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from dicom_node.config.cluster_section import ClusterSection, Files
from dicom_node.config.error_messages import misplaced_secrets, validation_messages
from dicom_node.config.job_sections import EngineSection, JobsSection
from dicom_node.config.page_sections import AlertsSection, AuditSection, HttpSection, ViewerSection
from dicom_node.config.peers import FolderSettings, PeerSettings
from dicom_node.config.receiver_sections import (
    CallerSection,
    NodeSection,
    ReceiveSection,
    TlsSection,
)
from dicom_node.config.value_types import PeerName, is_loopback
from dicom_node.errors import BadConfiguration
from dicom_node.results.objects import ObjectKind
from dicom_node.selection.rules import PriorityRules, Rules

CONFIG_FILE = platformdirs.user_config_path("hepar") / "hepar.toml"
"""Read when no other file is named, if it exists."""


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
    cluster: ClusterSection = ClusterSection()
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
        if not (self.callers or node.open or is_loopback(node.host)):
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

    @model_validator(mode="after")
    def _fetched(self) -> Self:
        """Refuse what needs a folder that the machines share, where files are fetched."""
        if self.cluster.files is not Files.FETCHED:
            return self
        if not self.peers:
            raise ValueError(
                "files are fetched (cluster.files), so there is no shared folder `delivered` for"
                " results; name a destination in [peers]"
            )
        if self.receive.processes > 1:
            raise ValueError(
                "files are fetched (cluster.files), so each gateway needs a data folder of its own,"
                " and receive.processes would share one; leave it at 1"
            )
        if self.engine.shadow is not None or self.select.best_of_study:
            raise ValueError(
                "engine.shadow and select.best_of_study need a folder that the machines share;"
                ' leave both out, or set cluster.files = "shared"'
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
