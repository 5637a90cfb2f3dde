"""File locks that the kernel releases when their process ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold an exclusive lock on `path` inside the block.

    Raises:
        BlockingIOError: another process holds it, and `wait` is false.
    """
    # flock, not a PID file: the kernel releases it even after kill -9.
    # The file stays afterwards: whoever waits has it open, and a new one would be another lock.
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        # This releases the lock: no other descriptor refers to the same open file.
        os.close(handle)
