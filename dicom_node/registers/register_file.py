"""An SQLite file with one table, which threads, and commands beside a running node, share."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dicom_node.errors import StoreUnusable

WAIT_S = 60.0
"""Longest wait for another process that writes."""


@dataclass(frozen=True)
class RegisterFile:
    """The file, made when it is first used; nobody but this user may read it."""

    path: Path
    table: str
    """Statement that makes the table unless it is there."""

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Lock the file until the block ends; what the block wrote is then on disk.

        Raises:
            OSError: the disk is full, or the file belongs to another user.
            StoreUnusable: the file cannot be opened, read or written.
        """
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))  # whatever the umask
            # `None`: sqlite3 would begin a transaction by itself, and only at the first write.
            store = sqlite3.connect(self.path, timeout=WAIT_S, isolation_level=None)
            with closing(store):
                # Or a power cut soon after COMMIT takes it back: its journal would return.
                store.execute("PRAGMA synchronous=EXTRA")
                # The write lock before the first look: what is read must not change before it is
                # written.
                store.execute("BEGIN IMMEDIATE")
                store.execute(self.table)
                yield store
                # Not reached after an error: closing without it takes everything back.
                store.execute("COMMIT")
        except sqlite3.Error as error:
            if "full" in str(error):  # SQLITE_FULL
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise StoreUnusable(
                f"{self.path} cannot be used: {error}; if it is damaged, move it away: the node"
                " begins a new one"
            ) from error
