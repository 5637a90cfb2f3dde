"""The protocol of systems that take results."""

from pathlib import Path
from typing import Protocol

from dicom_node.deliver.confirmation import Confirmation


class Peer(Protocol):
    """A system that takes DICOM objects."""

    @property
    def name(self) -> str:
        """What the configuration calls it."""

    def send(self, path: Path) -> None:
        """Return once the peer has the object of a DICOM file; a second time does no harm.

        Raises:
            PeerUnavailable: it may take the object later.
            PeerRefused: it will not take this object.
        """

    def confirm(self, path: Path) -> Confirmation:
        """Return how the peer confirmed that it keeps the object it was sent.

        Raises:
            NotKept: it says that it does not; send it again.
            PeerUnavailable: no word of it yet; ask again.
            PeerRefused: it will not tell.
        """

    def echo(self) -> None:
        """Return if the peer answers, and would listen to this node.

        Raises:
            PeerUnavailable, PeerRefused: as `send` would.
        """
