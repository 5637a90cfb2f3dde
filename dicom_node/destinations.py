"""From the configuration's tables to the peers that results go to."""

from pydantic import SecretStr

from dicom_node.peer_settings import FolderSettings, PeerSettings, StoreSettings
from dicom_node.peers import FolderPeer, Peer, StorePeer, StowPeer


def to_peer(name: str, settings: PeerSettings, calling_ae_title: str) -> Peer:
    """Return the peer that the table `[peers.<name>]` describes."""
    if isinstance(settings, FolderSettings):
        return FolderPeer(name, settings.folder)
    if isinstance(settings, StoreSettings):
        return to_store_peer(name, settings, calling_ae_title)
    return StowPeer(
        name,
        settings.url,
        user=settings.user,
        password=_revealed(settings.password),
        token=_revealed(settings.token),
    )


def to_store_peer(name: str, settings: StoreSettings, calling_ae_title: str) -> StorePeer:
    """Return the DICOM node that the table describes."""
    return StorePeer(name, settings.ae_title, settings.host, settings.port, calling_ae_title)


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
