"""Table of the configuration for several machines: where the files of a cluster lie."""

import socket
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from dicom_node.config.section import Section
from dicom_node.config.value_types import UserPath, WebRoot, is_loopback
from dicom_node.net.tls.client_tls import TlsFiles


class Files(StrEnum):
    """Where the files of a cluster lie."""

    SHARED = "shared"
    """In one folder that every machine mounts."""
    FETCHED = "fetched"
    """At the gateway that received them; the others fetch them by HTTP."""


def _require_name(name: str) -> str:
    # It is part of the names of queues and of processes in the job store, which "/" divides.
    if not (name.isascii() and name.replace("-", "_").isidentifier()):
        raise ValueError(f"{name!r} cannot name a cluster; use letters, digits, - and _")
    return name


class ClusterSection(Section):
    """`[cluster]`: several machines (`hepar receive`, `hepar work`, `hepar deliver`, `hepar
    web`)."""

    deliver_apart: bool = False
    """Whether workers leave results to `hepar deliver`, as where they do not reach the archive."""
    files: Files = Files.SHARED
    """`shared`: all machines mount one folder as `node.data`. `fetched`: each has a folder of its
    own; a gateway keeps what it received, and the others fetch it from there by HTTP."""
    name: Annotated[str, AfterValidator(_require_name)] = "hepar"
    """Name of the cluster where files are fetched; another one for each cluster on a PostgreSQL."""
    token: SecretStr | None = None
    """Secret with which the processes of a cluster fetch files from each other."""
    host: str = "127.0.0.1"
    """Address on which a gateway serves its files."""
    port: int = Field(default=11181, ge=0, le=65535)
    """Port on which a gateway serves its files; 0 takes a free one."""
    address: WebRoot | None = None
    """Address at which the others reach the files of this gateway; when absent, this machine's name
    and the port."""
    cert_file: UserPath | None = None
    """Certificate of this gateway with its chain, as PEM; without it files are served without
    TLS."""
    key_file: UserPath | None = None
    """Its private key, unless `cert_file` holds both."""
    ca_file: UserPath | None = None
    """Authority of the gateways' certificates, as PEM, beside those that the system trusts."""
    cache_gb: float = Field(default=20.0, gt=0)
    """Most gigabytes of fetched files that a process keeps; the longest unused go first."""

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        """Refuse to fetch files without a secret."""
        if self.files is Files.FETCHED and not (self.token and self.token.get_secret_value()):
            raise ValueError(
                "files are fetched by HTTP, and nothing keeps others from them; set"
                " HEPAR_CLUSTER__TOKEN in the environment, the same on every machine"
            )
        return self

    @property
    def secret(self) -> str:
        """The token."""
        return self.token.get_secret_value() if self.token else ""

    @property
    def trust(self) -> TlsFiles:
        """What a process trusts that calls a gateway."""
        return TlsFiles(self.ca_file)

    def reached_at(self, port: int) -> str:
        """Return the address at which others reach the files of this gateway on `port`."""
        if self.address is not None:
            return self.address
        name = self.host if is_loopback(self.host) else socket.gethostname()
        return f"{'https' if self.cert_file else 'http'}://{name}:{port}"
