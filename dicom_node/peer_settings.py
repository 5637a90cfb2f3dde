"""The tables `[peers.<name>]` of the configuration, one class per kind of peer."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from dicom_node.peers.confirmation import Means


class _Peer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FolderSettings(_Peer):
    """A folder that takes each object as a file."""

    kind: Literal["folder"]
    folder: Path


class StoreSettings(_Peer):
    """A DICOM node that takes objects by C-STORE."""

    kind: Literal["store"]
    ae_title: str = Field(min_length=1, max_length=16)
    host: str
    port: int = Field(default=104, ge=1, le=65535)
    confirm: Means = Means.AUTO
    """What the peer is asked for before a result counts as delivered."""


class StowSettings(_Peer):
    """A DICOMweb server that takes objects by STOW-RS."""

    kind: Literal["stow"]
    url: str = Field(pattern=r"^https?://")
    """The root under which `/studies` lies."""
    user: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None
    """Bearer token."""
    confirm: Literal["qidors", "none"] = "qidors"
    """What the server is asked for before a result counts as delivered."""


PeerSettings = FolderSettings | StoreSettings | StowSettings
