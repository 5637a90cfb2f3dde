"""Received instances on disk: whole or not there at all.

    spool/<Study Instance UID>/<Series Instance UID>/<SOP Instance UID>.dcm

The layout is the only record: after a restart the folders are the list of series. A `.part`
file is an instance that was never answered with success; `recover` removes such files. Beside the
instances may lie the notes of what was refused (`foreign_copy`), which go with the last of them.
"""

import errno
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from dicom_node.errors import RejectedInstance, StoreStatus
from dicom_node.receive.foreign_copy import (
    NOTES,
    forget_refused_copies,
    refused_copies,
    require_own,
)
from dicom_node.receive.header import SeriesKey, is_uid, require_uid
from dicom_node.receive.part10 import Part10
from engine.durable_files import (
    PART,
    make_folder_durably,
    sync_folder,
    write_pieces_durably,
)

# Errors that pass once something is freed: the sender may try again (A700).
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


LEFTOVER_S = 3600.0
"""Age of a half-written file after which no process writes it any more."""

OUTCOMES = ACCEPTED, REJECTED = "accepted", "rejected"
"""Of requests for an association."""


class Tally:
    """Associations and instances since the start; instances by whatever way they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._instances = self._bytes = 0
        self._associations: Counter[str] = Counter()

    def add(self, size: int) -> None:
        """Count an instance of so many bytes."""
        with self._lock:
            self._instances += 1
            self._bytes += size

    def add_association(self, outcome: str) -> None:
        """Count an association that was accepted or rejected."""
        with self._lock:
            self._associations[outcome] += 1

    def associations(self) -> dict[str, int]:
        """Return the numbers of associations by outcome."""
        with self._lock:
            return {each: self._associations[each] for each in OUTCOMES}

    def read(self) -> tuple[int, int]:
        """Return the numbers of instances and of bytes."""
        with self._lock:
            return self._instances, self._bytes


class Spool:
    """A folder of instances, each in the folder of its series.

    Threads may write at the same time, and processes where it is shared.
    """

    def __init__(self, folder: Path, keep_free_bytes: int = 0, *, shared: bool = False) -> None:
        """Open the spool, making the folder if need be.

        Args:
            folder: where the series lie.
            keep_free_bytes: an instance that would leave the disk less than this is refused.
            shared: whether other processes write to it, too.
        """
        self.folder = folder
        self.keep_free_bytes = keep_free_bytes
        self.shared = shared
        # Between the `mkdir` of one thread and the `rmdir` of another.
        self._folders = threading.Lock()
        self._durable: set[Path] = set()
        self.tally = Tally()
        self.is_unfinished: Callable[[SeriesKey], bool] = lambda series: False
        """Whether more of a series may come; until then, no other caller can change what came."""
        make_folder_durably(folder)
        # The spool's own name has to survive a crash, too.
        sync_folder(folder.parent)

    def put(self, series: SeriesKey, instance_uid: str, part10: bytes | Part10) -> Path:
        """Write one instance; once this returns, the file outlives a crash.

        A second copy of the same instance replaces the first.

        Raises:
            RejectedInstance: a UID is none, the disk refused the bytes or is too full for them, or
                another caller sent the instance with other content and still sends the series.
        """
        path = self._path(series, instance_uid)
        if isinstance(part10, Part10) and path.exists() and self.is_unfinished(series):
            require_own(path, part10)
        try:
            self.require_room(len(part10))
            self._write(path, part10)
        except OSError as error:
            raise not_kept(instance_uid, error) from error
        self.tally.add(len(part10))
        return path

    def place(self, series: SeriesKey, instance_uid: str) -> Path:
        """Return where an instance is to lie that another gateway sends; its folder is made.

        Raises:
            RejectedInstance: a UID is none.
            OSError: the folder cannot be made.
        """
        path = self._path(series, instance_uid)
        self._make_folder(path.parent)
        return path

    def series(self) -> list[SeriesKey]:
        """All series of which there is at least one instance."""
        folders = [folder for folder in self._series_folders() if any(folder.glob("*.dcm"))]
        return sorted(SeriesKey(folder.parent.name, folder.name) for folder in folders)

    def paths(self, series: SeriesKey) -> tuple[Path, ...]:
        """The instances of a series, in the order of their UIDs; none if it is not here."""
        return tuple(sorted(self._folder(series).glob("*.dcm")))

    def refused_copies(self, series: SeriesKey) -> tuple[str, ...]:
        """What other callers sent of a series and was refused, the oldest first."""
        return refused_copies(self._folder(series))

    def forget_refused_copies(self, series: SeriesKey) -> None:
        """Remove those notes, once the job has them."""
        forget_refused_copies(self._folder(series))

    def remove(self, paths: Iterable[Path]) -> None:
        """Forget these instances; what came since for the same series stays."""
        folders = set()
        for path in paths:
            path.unlink(missing_ok=True)
            folders.add(path.parent)
        for folder in folders:
            self._drop_if_empty(folder)

    def recover(self) -> None:
        """Remove what a crash left half-written; to be called before anything is received."""
        for folder in self._series_folders():
            for part in folder.glob(f"*{PART}"):
                if not self.shared or _is_old(part):  # or another process is writing it now
                    part.unlink(missing_ok=True)
            self._drop_if_empty(folder)

    def require_room(self, size: int) -> None:
        """Return if the disk has room for so many bytes.

        Raises:
            RejectedInstance: it would be too full.
        """
        free = shutil.disk_usage(self.folder).free
        if free - size < self.keep_free_bytes:
            raise RejectedInstance(
                f"disk has {free >> 20} MB free, less than {self.keep_free_bytes >> 20} MB would be"
                " left; free space, or lower the minimum",
                StoreStatus.OUT_OF_RESOURCES,
            )

    def _path(self, series: SeriesKey, instance_uid: str) -> Path:
        # This is the last gate before a path, also for callers that read no header: a UID with
        # "../" in it would leave the folder.
        require_uid("SOP Instance UID", instance_uid, StoreStatus.INVALID_OBJECT_INSTANCE)
        require_uid("Study Instance UID", series.study_uid, StoreStatus.CANNOT_UNDERSTAND)
        require_uid("Series Instance UID", series.series_uid, StoreStatus.CANNOT_UNDERSTAND)
        return self._folder(series) / f"{instance_uid}.dcm"

    def _folder(self, series: SeriesKey) -> Path:
        return self.folder / series.study_uid / series.series_uid

    def _series_folders(self) -> list[Path]:
        return [path for path in self.folder.glob("*/*") if path.is_dir() and is_uid(path.name)]

    def _write(self, path: Path, part10: bytes | Part10) -> None:
        while True:
            try:
                self._make_folder(path.parent)
                content = [part10] if isinstance(part10, bytes) else part10.pieces()
                return write_pieces_durably(path, content)
            except FileNotFoundError:  # `remove` took the empty folder away: once more
                if not self.folder.is_dir():
                    raise
                self._durable.discard(path.parent)

    def _make_folder(self, folder: Path) -> None:
        with self._folders:
            if folder in self._durable:
                return
            # The study's folder first, each synced into the one above it.
            for path in (folder.parent, folder):
                path.mkdir(exist_ok=True)
                sync_folder(path.parent)
            self._durable.add(folder)

    def _drop_if_empty(self, folder: Path) -> None:
        with self._folders:
            if not any(path.name != NOTES for path in folder.glob("*")):
                forget_refused_copies(folder)
            # The study's folder goes with its last series.
            for path in (folder, folder.parent):
                try:
                    path.rmdir()
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                        raise
                self._durable.discard(path)  # at worst it is synced once more


def _is_old(part: Path) -> bool:
    try:
        return time.time() - part.stat().st_mtime > LEFTOVER_S
    except FileNotFoundError:
        return False


def not_kept(instance_uid: str, error: OSError) -> RejectedInstance:
    """Return the refusal of an instance that could not be written."""
    full = error.errno in NO_ROOM
    return RejectedInstance(
        f"could not keep {instance_uid}: {error.strerror or error}",
        StoreStatus.OUT_OF_RESOURCES if full else StoreStatus.PROCESSING_FAILURE,
    )
