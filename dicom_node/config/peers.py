"""Tables `[peers.<name>]` of the configuration, one class for each kind of peer."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from dicom_node.config.value_types import AeTitle, UserPath, WebRoot
from dicom_node.deliver.confirm_by import ConfirmBy
from dicom_node.net.tls.client_tls import TlsFiles
from dicom_node.results.objects import Encoding, ObjectKind, Profile, Receipt, SegForm, Superseded


class _Peer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    objects: tuple[ObjectKind, ...] = Field(default=(ObjectKind.SEG,), min_length=1)
    """Objects that the peer receives for each series."""

    receipt: tuple[Receipt, ...] = ()
    """Endings of a series, or of a stack in it, for which the peer receives a short text report."""
    seg_encoding: Encoding = Encoding.BINARY
    """Encoding of the SEG's masks; few archives accept LABELMAP."""
    superseded: Superseded = Superseded.KEEP
    """What becomes of the node's own results of a series that newer ones take the place of, once
    these have been delivered: kept; rejected by a Key Object Selection (IHE IOCM), which archives
    such as dcm4chee honour; or deleted, from a folder or a DICOMweb server."""
    segment_per_lesion: bool = False
    """Whether each lesion is a segment of its own; otherwise all of them are one segment."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if ObjectKind.REPORT in self.objects and ObjectKind.SEG not in self.objects:
            raise ValueError('a report refers to the segments of the SEG; add "seg" to objects')
        return self

    @property
    def profile(self) -> Profile:
        """Objects that the peer receives, as a plain value."""
        form = SegForm(self.seg_encoding, self.segment_per_lesion)
        return Profile(self.objects, form, self.receipt, self.superseded)


class _TlsPeer(_Peer):
    ca_file: UserPath | None = None
    """PEM file of certificate authorities that are trusted beside the system's."""
    cert_file: UserPath | None = None
    """PEM file of this node's certificate, for a peer that asks for one."""
    key_file: UserPath | None = None
    """PEM file of its private key, unless `cert_file` holds both."""
    check_hostname: bool = True
    """Whether the peer's certificate must be issued for its host."""

    @model_validator(mode="after")
    def _certified(self) -> Self:
        if self.key_file and not self.cert_file:
            raise ValueError("key_file has no certificate; set cert_file too")
        return self

    @property
    def tls_files(self) -> TlsFiles:
        """The certificates, as a plain value."""
        return TlsFiles(self.ca_file, self.cert_file, self.key_file, self.check_hostname)


class FolderSettings(_Peer):
    """A folder that receives each object as a file."""

    kind: Literal["folder"]
    folder: UserPath
    """Created if it does not exist."""


class StoreSettings(_TlsPeer):
    """A DICOM node that receives objects by C-STORE."""

    kind: Literal["store"]
    ae_title: AeTitle
    host: str
    """Name or address of the machine."""
    port: int = Field(default=104, ge=1, le=65535)
    tls: bool = False
    """Whether associations are encrypted (PS3.15 B)."""
    confirm: ConfirmBy = ConfirmBy.AUTO
    """Confirmation by the peer that a result needs to count as delivered."""

    @model_validator(mode="after")
    def _able(self) -> Self:
        if self.superseded is Superseded.DELETE:
            raise ValueError('no DICOM service deletes; set superseded to "reject", or use STOW-RS')
        return self


class StowSettings(_TlsPeer):
    """A DICOMweb server that receives objects by STOW-RS."""

    kind: Literal["stow"]
    url: WebRoot
    """Root of the service; `/studies` is appended."""
    user: str | None = None
    """User for HTTP Basic authentication."""
    password: SecretStr | None = None
    """Password of this user; from the environment only."""
    token: SecretStr | None = None
    """Bearer token, used in place of user and password; from the environment only."""
    token_file: UserPath | None = None
    """File of a bearer token that something else renews; read for every request."""
    confirm: Literal["qidors", "none"] = "qidors"
    """Means of confirmation before a result counts as delivered."""


PeerSettings = FolderSettings | StoreSettings | StowSettings
