"""Ctrl-C and full disks as errors that name what is saved."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.errors import Interrupted, NotWritten
from trainer.training.resume.checkpoint_files import saved_epochs

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def stops_named(name: str, last: Path, epochs: int) -> Iterator[None]:
    """Turn what ends the training of a member into an error that names the saved epoch.

    Args:
        name: of the member.
        last: its last checkpoint.
        epochs: that it is to learn for.

    Raises:
        Interrupted: Ctrl-C.
        NotWritten: the disk is full.
    """
    try:
        yield
    except SystemExit as stop:
        # Lightning calls sys.exit(1) while it handles Ctrl-C, so the interrupt is the context.
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        raise Interrupted(f"stopped: {_saved(name, last, epochs)} to go on") from stop
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise _not_written(error, f"{_saved(name, last, epochs)} to go on") from error


@contextmanager
def stops_between_members() -> Iterator[None]:
    """Do the same for Ctrl-C and full disks while no member learns."""
    kept = "all members that are done are kept; repeat this command to go on"
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Interrupted(f"stopped: {kept}") from stop
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise _not_written(error, kept) from error


def _saved(name: str, last: Path, epochs: int) -> str:
    saved = saved_epochs(last)
    if not saved:
        return f"{name} has no epoch saved yet; repeat this command"
    return f"{name} is saved at epoch {saved} of {epochs}; repeat this command"


def _not_written(error: OSError, kept: str) -> NotWritten:
    place = f" ({error.filename})" if error.filename else ""
    return NotWritten(f"{error.strerror or error}{place}: make room on the disk; {kept}")
