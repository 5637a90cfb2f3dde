"""A folder as a peer: one file per object."""

import os
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from dicom_node.deliver.confirmation import Confirmation
from dicom_node.deliver.sop_reference import SopReference
from dicom_node.errors import PeerRefused, PeerUnavailable
from engine.durable_files import PART, make_folder_durably, write_durably


@dataclass(frozen=True)
class FolderPeer:
    """Files named by their SOP Instance UID; the same object twice is one file.

    A folder that cannot be written counts as unavailable, not as refusing: disk space, a network
    share or a permission can come back without anyone touching the job.
    """

    name: str
    folder: Path

    def send(self, path: Path) -> str:
        """Copy the file so that a reader, or a crash, finds all of it or none.

        Parts that an earlier attempt left behind are removed.
        """
        target = self.folder / f"{_instance_uid(path)}.dcm"
        try:
            make_folder_durably(self.folder)
            # A crash leaves its part behind, and nobody else would ever remove it from a peer's
            # folder.
            for part in self.folder.glob(f"{target.name}.*{PART}"):
                part.unlink(missing_ok=True)
            write_durably(target, path.read_bytes())
        except OSError as error:
            raise self._unwritable(error) from error
        return ""

    def confirm(self, path: Path) -> Confirmation:
        """Return at once: `send` synced the file, and a reader may have moved it away since."""
        return Confirmation.WRITTEN

    def delete(self, wanted: SopReference) -> None:
        """Remove the file of an object, if nobody has moved it away."""
        try:
            (self.folder / f"{wanted.instance_uid}.dcm").unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def echo(self) -> None:
        """Return if the folder can be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise self._unwritable("no right to write")

    def _unwritable(self, reason: object) -> PeerUnavailable:
        return PeerUnavailable(
            f"{self.name}: cannot write to {self.folder}: {reason}; make it a folder with room"
            " that this user may write to"
        )


def _instance_uid(path: Path) -> str:
    try:
        return str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
    except (InvalidDicomError, AttributeError) as error:
        raise PeerRefused(f"{path} is not a DICOM object: {error}") from error
