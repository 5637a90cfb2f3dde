"""Make peers from the configuration."""

import logging
import threading
from collections.abc import Iterable

from pydantic import SecretStr

from dicom_node.config.peers import FolderSettings, PeerSettings, StoreSettings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.deliver.dicomweb import DicomWebPeer
from dicom_node.deliver.folder import FolderPeer
from dicom_node.deliver.peer_interface import Peer
from dicom_node.error_location import unforeseen
from dicom_node.errors import NodeError
from dicom_node.net.commitments import Commitments
from dicom_node.net.tls.client_tls import TlsFiles

logger = logging.getLogger(__name__)


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


def warn_of_unready_peers(peers: Iterable[Peer]) -> threading.Thread:
    """Log which peers do not answer, aside: a node starts and receives without them."""

    def check() -> None:
        for peer in peers:
            try:
                peer.echo()
            except NodeError as error:
                logger.warning(
                    "not ready: %s; `hepar peers test` has details",
                    error,
                    extra={"action": "check", "peer": peer.name},
                )
            # The edge of this thread: a peer that answers in an unforeseen way must not keep the
            # next one from being checked. It is a check alone; deliveries have their own.
            except Exception as error:
                extra = {"action": "check", "peer": peer.name}
                logger.warning("not checked: %s", unforeseen(error), extra=extra)

    # Daemon: a peer that hangs must not keep the node from ending.
    thread = threading.Thread(target=check, name="peers", daemon=True)
    thread.start()
    return thread


def _checked(files: TlsFiles) -> TlsFiles:
    """Return the files if they can be used; a node should not start without its certificates."""
    if files.ca_file or files.cert_file:
        files.context()
    return files


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value().rstrip("\r\n") if secret else None  # as read from a file
