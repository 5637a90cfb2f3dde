"""The protocol of systems that take results."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from dicom_node.deliver.confirmation import Confirmation
from dicom_node.deliver.sop_reference import SopReference


class Peer(Protocol):
    """A system that accepts DICOM objects."""

    @property
    def name(self) -> str:
        """Name in the configuration."""

    def send(self, path: Path) -> str:
        """Send the object in a DICOM file; sending it again does no harm.

        An object that the peer reports to have already counts as sent: `confirm` looks.

        Returns:
            The peer's warning if it changed the object when it stored it; empty otherwise.

        Raises:
            PeerUnavailable: it may accept the object later.
            PeerRefused: it will not accept this object.
        """

    def confirm(self, path: Path) -> Confirmation:
        """Return how the peer confirmed that it keeps the object.

        Raises:
            NotKept: it reports that it does not, or a search does not show it.
            PeerUnavailable: no answer yet; ask again.
            PeerRefused: it will never answer that.
        """

    def echo(self) -> None:
        """Return if the peer answers and accepts calls of this node.

        Raises:
            PeerUnavailable, PeerRefused: as `send` would.
        """


@runtime_checkable
class DeletingPeer(Peer, Protocol):
    """A peer that deletes objects."""

    def delete(self, wanted: SopReference) -> None:
        """Delete an object; one that is not there counts as deleted.

        Raises:
            PeerUnavailable: it may be deleted later.
            PeerRefused: the peer does not delete it.
        """
