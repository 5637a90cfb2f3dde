"""Data sets while they are received: in memory, and large ones in files without a name.

pynetdicom keeps a whole data set in memory, or writes every one to the folder for temporary files,
which may itself be in memory. Here a data set moves to a file beside the spool once it is larger
than `IN_MEMORY_BYTES`; the others, nearly all of them, never touch one.
"""

import errno
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

IN_MEMORY_BYTES = 1 << 24
"""Larger data sets move to a file; an uncompressed slice of 2048 x 2048 pixels has half of it."""
PIECE_BYTES = 1 << 20


class NamelessFile:
    """A file of which nothing is left once its last user is gone, also after a crash."""

    def __init__(self, folder: Path) -> None:
        """Open one on the disk of a folder.

        Raises:
            OSError: there can be none.
        """
        with tempfile.TemporaryFile(dir=folder) as file:
            # The name is gone already, or goes with the `with`; a second descriptor keeps the
            # bytes.
            self._descriptor = os.dup(file.fileno())
        # Not `__del__`, which might not run at the end of the process.
        weakref.finalize(self, os.close, self._descriptor)

    def write(self, content: bytes) -> None:
        """Add bytes at the end."""
        rest = memoryview(content)
        while rest:  # the system may take less than it is given
            rest = rest[os.write(self._descriptor, rest) :]

    def read(self, start: int, size: int) -> bytes:
        """Return bytes from any place; several threads may read."""
        # Without the file's common position, which threads would move for one another.
        return os.pread(self._descriptor, size, start)


@dataclass(frozen=True)
class FileBytes:
    """Part of a file that is read slice by slice, like `bytes`."""

    file: NamelessFile
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def __getitem__(self, part: slice) -> bytes:
        begin, end, _ = part.indices(len(self))
        return self.file.read(self.start + begin, max(0, end - begin))


DataSetBytes = bytes | FileBytes
"""An encoded data set, wherever it lies."""


def after(data_set: DataSetBytes, start: int) -> DataSetBytes:
    """Return a data set without its first bytes; one in a file is not read."""
    if isinstance(data_set, FileBytes):
        return FileBytes(data_set.file, data_set.start + start, data_set.end)
    return data_set[start:]


def pieces(data_set: DataSetBytes) -> Iterator[bytes]:
    """Return the content of a data set, a megabyte at a time where it lies in a file."""
    if isinstance(data_set, bytes):
        yield data_set
        return
    for start in range(0, len(data_set), PIECE_BYTES):
        yield data_set[start : start + PIECE_BYTES]


class DataSetFile(BytesIO):
    """A data set that is written to a file while it comes.

    pynetdicom takes nothing but a BytesIO for the data set of a message.
    """

    def __init__(self, folder: Path, keep_free_bytes: int = 0) -> None:
        """Begin a file in a folder; nothing is written that leaves its disk less than given."""
        super().__init__()
        self.error: OSError | None = None
        """Why the bytes were not kept; what comes after it is dropped."""
        self._folder, self._keep_free_bytes = folder, keep_free_bytes
        self._size = 0
        self._file: NamelessFile | None = None
        try:
            self._file = NamelessFile(folder)
        except OSError as error:
            self.error = error

    def write(self, content: bytes, /) -> int:  # type: ignore[override]
        """Add bytes at the end; an error is kept in `error`, not raised.

        The message is read to its end all the same, so that it can be answered with a status.
        """
        if self._file is not None and self.error is None:
            try:
                self._require_room(len(content))
                self._file.write(content)
                self._size += len(content)
            except OSError as error:
                self.error = error
        # Also when it was dropped: pynetdicom would take less for an error of its own.
        return len(content)

    def content(self) -> FileBytes:
        """Return what was written.

        Raises:
            OSError: it could not be kept.
        """
        if self.error is not None or self._file is None:
            raise self.error or OSError(errno.EIO, os.strerror(errno.EIO))
        return FileBytes(self._file, 0, self._size)

    def getvalue(self) -> bytes:
        """Return all of it, as pynetdicom's own handlers would read it."""
        return self.content()[:]

    def _require_room(self, more: int) -> None:
        # Once a piece, not at every write: a system call more for each PDU.
        crossed = (self._size + more) // PIECE_BYTES > self._size // PIECE_BYTES
        if crossed and shutil.disk_usage(self._folder).free < self._keep_free_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@dataclass(frozen=True)
class LargeDataSets:
    """The place of the data sets that are too large for memory."""

    folder: Path
    keep_free_bytes: int = 0

    def moved(self, received: BytesIO) -> BytesIO:
        """Return a data set that is still coming, in a file if it has become large."""
        # A `DataSetFile` is a BytesIO too: it has moved already.
        if type(received) is not BytesIO or received.tell() <= IN_MEMORY_BYTES:
            return received
        file = DataSetFile(self.folder, self.keep_free_bytes)
        file.write(received.getvalue())
        return file


def content(received: BytesIO) -> DataSetBytes:
    """Return a data set that has come.

    Raises:
        OSError: it could not be kept.
    """
    return received.content() if isinstance(received, DataSetFile) else received.getvalue()
