"""Atomic, durable file writes: after a crash a file is whole or absent."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

PART = ".part"
"""Suffix of a file that is still being written; its name begins with the final name."""


def write_durably(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file so that a reader, or a crash, finds the old one or all of the new.

    The folder is synced too: a rename lives in the folder, not in the file.

    Args:
        path: of the file.
        content: of the file.
        mode: permissions; by default for this user alone, since it may hold a patient's data.
    """
    write_pieces_durably(path, [content], mode=mode)


def write_pieces_durably(path: Path, content: Iterable[bytes], *, mode: int = 0o600) -> None:
    """Write a file whose content comes in pieces, as `write_durably` does."""
    # In the same folder: a rename is atomic within one file system only.
    handle, name = tempfile.mkstemp(PART, f"{path.name}.", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(content)
            # fsync sees what Python has handed to the kernel, not what it still buffers.
            file.flush()
            # Before the rename: under its final name the file never has other permissions.
            os.fchmod(handle, mode)
            os.fsync(handle)
        Path(name).replace(path)
    # Also after Ctrl-C: nobody else would ever remove the part.
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def make_folder_durably(folder: Path) -> None:
    """Make a folder, and those above it that are missing, so that their names survive a crash.

    One that is there already is left as it is: that of a peer may lie in one that is not ours.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in reversed(missing):
        sync_folder(each.parent)


def sync_folder(folder: Path) -> None:
    """Make files that were created, renamed or removed in a folder survive a crash."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
