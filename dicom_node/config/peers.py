"""The tables `[peers.<name>]` of the configuration, one class per kind of peer."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from dicom_node.config.value_types import AeTitle, UserPath, WebRoot
from dicom_node.deliver.confirm_by import ConfirmBy
from dicom_node.results.objects import Encoding, ObjectKind, Profile, SegForm


class _Peer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    objects: tuple[ObjectKind, ...] = Field(default=(ObjectKind.SEG,), min_length=1)
    """What the peer gets of each series."""

    seg_encoding: Encoding = Encoding.BINARY
    """How the SEG keeps its masks; few archives know LABELMAP, and no report refers to it."""
    segment_per_lesion: bool = False
    """Whether each lesion is a segment of its own, or all of them are one."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if ObjectKind.REPORT in self.objects and ObjectKind.SEG not in self.objects:
            raise ValueError('a report refers to the segments of the SEG; add "seg" to objects')
        if ObjectKind.REPORT in self.objects and self.seg_encoding is Encoding.LABELMAP:
            # dciodvfy: an SR may refer to segments of Segmentation Storage only, not Label Map
            raise ValueError(
                'a report cannot refer to a SEG of seg_encoding "labelmap"; '
                'set "binary", or take "report" out of objects'
            )
        return self

    @property
    def profile(self) -> Profile:
        """What the peer gets, as a plain value."""
        return Profile(self.objects, SegForm(self.seg_encoding, self.segment_per_lesion))


class FolderSettings(_Peer):
    """A folder that takes each object as a file."""

    kind: Literal["folder"]
    folder: UserPath
    """Made when it is not there."""


class StoreSettings(_Peer):
    """A DICOM node that takes objects by C-STORE."""

    kind: Literal["store"]
    ae_title: AeTitle
    host: str
    """Name or address of the machine."""
    port: int = Field(default=104, ge=1, le=65535)
    confirm: ConfirmBy = ConfirmBy.AUTO
    """What the peer is asked for before a result counts as delivered."""


class StowSettings(_Peer):
    """A DICOMweb server that takes objects by STOW-RS."""

    kind: Literal["stow"]
    url: WebRoot
    """The root under which `/studies` lies."""
    user: str | None = None
    """For HTTP Basic."""
    password: SecretStr | None = None
    """Of this user; from the environment only."""
    token: SecretStr | None = None
    """Bearer token, which goes before user and password; from the environment only."""
    confirm: Literal["qidors", "none"] = "qidors"
    """What the server is asked for before a result counts as delivered."""


PeerSettings = FolderSettings | StoreSettings | StowSettings
