"""Make peers from the configuration."""

from pydantic import SecretStr

from dicom_node.config.peers import FolderSettings, PeerSettings, StoreSettings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.deliver.dicomweb import DicomWebPeer
from dicom_node.deliver.folder import FolderPeer
from dicom_node.deliver.peer_interface import Peer
from dicom_node.net.commitments import Commitments
from dicom_node.net.tls import TlsFiles


def to_peer(
    name: str,
    settings: PeerSettings,
    calling_ae_title: str,
    commitments: Commitments | None = None,
) -> Peer:
    """Return the peer that the table `[peers.<name>]` describes.

    Args:
        name: its name in the configuration.
        settings: the table.
        calling_ae_title: AE title of this node.
        commitments: the storage commitment reports that the receiver collects.

    Raises:
        BadConfiguration: a certificate cannot be used.
    """
    if isinstance(settings, FolderSettings):
        return FolderPeer(name, settings.folder)
    if isinstance(settings, StoreSettings):
        return to_store_peer(name, settings, calling_ae_title, commitments)
    return DicomWebPeer(
        name,
        settings.url,
        user=settings.user,
        password=_revealed(settings.password),
        token=_revealed(settings.token),
        token_file=settings.token_file,
        tls=_checked(settings.tls_files),
        search=settings.confirm == "qidors",
    )


def to_store_peer(
    name: str,
    settings: StoreSettings,
    calling_ae_title: str,
    commitments: Commitments | None = None,
) -> StorePeer:
    """Return the DICOM node that the table describes."""
    return StorePeer(
        name,
        settings.ae_title,
        settings.host,
        settings.port,
        calling_ae_title,
        tls=_checked(settings.tls_files).context() if settings.tls else None,
        means=settings.confirm,
        commitments=commitments or Commitments(),
    )


def _checked(files: TlsFiles) -> TlsFiles:
    """Return the files if they can be used; a node should not start without its certificates."""
    if files.ca_file or files.cert_file:
        files.context()
    return files


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value().rstrip("\r\n") if secret else None  # as read from a file
