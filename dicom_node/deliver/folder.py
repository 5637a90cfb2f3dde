"""A folder that takes each object as one file."""

import os
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from dicom_node.deliver.confirmation import Confirmation
from dicom_node.errors import PeerRefused, PeerUnavailable
from engine.durable_files import PART, write_durably


@dataclass(frozen=True)
class FolderPeer:
    """Files named by their SOP Instance UID; the same object twice is one file.

    A folder that cannot be written is unavailable, not refusing: a disk gets room again, a share
    comes back, and an administrator can grant the right, all without touching the job.
    """

    name: str
    folder: Path

    def send(self, path: Path) -> None:
        """Copy the file so that a reader, or a crash, finds all of it or none.

        What an earlier attempt left half-written goes away.
        """
        target = self.folder / f"{_instance_uid(path)}.dcm"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for part in self.folder.glob(f"{target.name}.*{PART}"):
                part.unlink(missing_ok=True)
            write_durably(target, path.read_bytes())
        except OSError as error:
            raise self._unwritable(error) from error

    def confirm(self, path: Path) -> Confirmation:
        """Return at once: `send` synced the file, and whoever reads the folder may take it away."""
        return Confirmation.WRITTEN

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
        raise PeerRefused(f"{path} is no DICOM object: {error}") from error
