"""Callbacks of the receiver."""

from collections.abc import Hashable
from typing import Protocol

from dicom_node.receive.header import SeriesKey


class ReceiveEvents(Protocol):
    """Callbacks of the receiver; each must return at once."""

    def instance_kept(self, association: "Association", series: SeriesKey) -> None:
        """An instance of this series is on the disk; the sender is answered next."""

    def association_closed(self, association: "Association") -> None:
        """The association was released, aborted or lost."""


class Association(Hashable, Protocol):
    """An open association, compared by identity."""

    def is_alive(self) -> bool:
        """Return whether more may still come; pynetdicom's association is a thread."""


class NullReceiveEvents:
    """A listener that does not listen."""

    def instance_kept(self, association: Association, series: SeriesKey) -> None:
        """Do nothing."""

    def association_closed(self, association: Association) -> None:
        """Do nothing."""
