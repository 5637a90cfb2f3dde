"""Limits on an upload, as it comes and as it is unpacked."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from dicom_node.errors import NoRoomForUpload, TooLargeUpload

MOST_FILES = 1 << 14
"""Of one upload; a study of 10,000 slices is a very large one."""

MB = 1 << 20

LOOK_BYTES = 64 * MB
"""Bytes after which the disk is looked at again."""


@dataclass(frozen=True)
class Bounds:
    """Limits on one upload."""

    most_bytes: int
    """Of all its files together."""
    keep_free_bytes: int
    """That the disk must have left."""

    def require_size(self, size: int) -> None:
        """Return if an upload may have this many bytes.

        Raises:
            TooLargeUpload: it may not.
        """
        if size > self.most_bytes:
            raise TooLargeUpload(
                f"the upload has more than {self.most_bytes // MB} MB; drop a single series, or"
                " raise http.try_mb"
            )

    def require_room(self, folder: Path, size: int) -> None:
        """Return if the disk has room for this many bytes more.

        Raises:
            NoRoomForUpload: it has not.
        """
        free = shutil.disk_usage(folder).free
        if free - size < self.keep_free_bytes:
            raise NoRoomForUpload(
                f"the node's disk has {free // MB} MB free; {self.keep_free_bytes // MB} MB of it"
                " stay for what scanners send (receive.keep_free_mb); free space, then try again"
            )


class Tally:
    """Bytes of one upload that are written."""

    def __init__(self, bounds: Bounds, folder: Path) -> None:
        self._bounds = bounds
        self._folder = folder
        self._written = 0
        self._look_at = 0

    def add(self, size: int) -> None:
        """Count bytes that are about to be written.

        Raises:
            TooLargeUpload, NoRoomForUpload: they are too many.
        """
        self._written += size
        self._bounds.require_size(self._written)
        if self._written >= self._look_at:
            self._bounds.require_room(self._folder, size)
            self._look_at = self._written + LOOK_BYTES
