"""The data folder that the processes of a cluster share: claims on it, and its check at start."""

import fcntl
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from dicom_node.cluster.membership import Member, Membership
from dicom_node.data_folder import DataFolder, locked
from dicom_node.errors import BadConfiguration
from engine.durable_files import PART, sync_folder, write_durably

VISIBLE_S = 30.0
"""Longest wait until a file of another machine is seen here: NFS caches attributes for so long."""

LOOK_S = 0.5
"""Seconds between two looks."""


@dataclass(frozen=True)
class Claim:
    """A place among the processes that share a folder."""

    data: DataFolder
    folder: str
    """Name of the folder."""
    name: str
    """Of this process, unlike that of any other live one."""
    token: str
    """New at each start."""

    @property
    def crashes(self) -> Path:
        """Record of the jobs at work in this process."""
        return self.data.crashes / self.name

    @property
    def cache(self) -> Path:
        """Graphs as this process compiled them."""
        return self.data.cache / self.name


@contextmanager
def claimed_place(data: DataFolder, role: str) -> Iterator[Claim]:
    """Share the folder with others of its kind while the block lasts.

    The name is the first that is free of `<role>-<host>-1`, `-2` and so on, so that a process
    which starts again after a crash has the name, and the work, of the one that died.

    Raises:
        AlreadyRunning: `hepar serve`, which shares it with nobody, works in the folder.
        BadConfiguration: the folder cannot be made or written.
    """
    stem = f"{role}-{socket.gethostname()}"
    with data.shared() as folder, _first_free(data.members, stem) as (name, file):
        claim = Claim(data, folder, name, uuid.uuid4().hex)
        os.ftruncate(file, 0)
        os.pwrite(file, claim.token.encode(), 0)
        os.fsync(file)
        for own in (claim.crashes, claim.cache):
            own.mkdir(exist_ok=True)
        yield claim


@contextmanager
def _first_free(folder: Path, stem: str) -> Iterator[tuple[str, int]]:
    """Lock the first file of a series of names that nobody has locked."""
    for number in count(1):
        handle = os.open(folder / f"{stem}-{number}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if locked(handle):
                yield f"{stem}-{number}", handle
                return
        finally:
            os.close(handle)


def require_shareable(folder: Path) -> None:
    """Return if a folder keeps what the processes rely on: sync, atomic rename, locks.

    Raises:
        BadConfiguration: it does not; the message names what fails.
    """
    probe = folder / f"{uuid.uuid4().hex}.probe"
    checks: dict[str, Callable[[Path], None]] = {
        "sync a file and its folder (fsync)": _sync,
        "replace a file by renaming another": _rename,
        "lock a file against a second opening (flock)": _lock,
    }
    try:
        for what, check in checks.items():
            try:
                check(probe)
            except OSError as error:
                raise BadConfiguration(
                    f"{folder} cannot be shared: it does not {what}: {error.strerror or error};"
                    " mount it so that it does (NFS 4 without nolock, CephFS)"
                ) from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _sync(probe: Path) -> None:
    write_durably(probe, b"old")
    if probe.read_bytes() != b"old":
        raise OSError("what was written is not read back")
    sync_folder(probe.parent)


def _rename(probe: Path) -> None:
    # Open over the rename: its reader keeps the old content, a new reader has the new one.
    with probe.open("rb") as before:
        write_durably(probe, b"new")
        if (before.read(), probe.read_bytes()) != (b"old", b"new"):
            raise OSError("a reader saw neither the old nor the new file")
    if leftovers := list(probe.parent.glob(f"{probe.name}.*{PART}")):
        raise OSError(f"{leftovers[0].name} is still there")


def _lock(probe: Path) -> None:
    first, second = (os.open(probe, os.O_RDWR) for _ in range(2))
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if locked(second):
            raise OSError("a second lock was granted")
    finally:
        os.close(first)
        os.close(second)


def require_same_folder(
    data: DataFolder, membership: Membership, me: Member, wait_s: float = VISIBLE_S
) -> None:
    """Return once the file of each live process on the folder's name is seen in this folder.

    Raises:
        BadConfiguration: one of them writes to another folder, or its files are not seen here.
    """
    deadline = time.monotonic() + wait_s
    while unseen := _unseen(data, membership, me):
        if time.monotonic() > deadline:
            raise BadConfiguration(
                f"{data.folder} is not the folder that {unseen.name} on {unseen.host} writes to, or"
                f" its files are not seen here within {wait_s:g} s; mount one shared folder as"
                " node.data on every machine"
            )
        time.sleep(LOOK_S)


def _unseen(data: DataFolder, membership: Membership, me: Member) -> Member | None:
    """Return a live process whose file is not here."""
    for each in membership.all():
        if not each.alive or each.member.name == me.name:
            continue
        with suppress(OSError):
            if (data.members / each.member.name).read_text("ascii", "replace") == each.member.token:
                continue
        return each.member
    return None
