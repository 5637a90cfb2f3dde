"""The node's data folder: what lies where, and the claim of one node on it.

spool/           received instances
results/         objects that were verified, until they are delivered everywhere
delivered/       the embedded default destination
cache/           graphs as the device compiled them
plans/           TensorRT plans, and which of them serve
tries/           uploads at the page, and what was made of them
crashes/         which jobs are at work, and during which the node died
fetched/         copies of what gateways hold, in a cluster without a shared folder
attempts/        results that a worker of such a cluster is making
members/         processes that share the folder, one file each; locked while they run
jobs.sqlite      the workflow store, unless Postgres is
numbers.sqlite   Series Numbers in use, study by study
corrections.sqlite  corrections by people, and how far results agreed with them
shadow.sqlite    series that a shadow model computes, and what became of each
shadow.lock      locked by the process that computes them, where several share the folder
models/          models that `hepar model promote` made the serving one, and which of them serves
node             which node this folder belongs to; locked while it runs
"""

import fcntl
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dicom_node.errors import AlreadyRunning, BadConfiguration
from engine.durable_files import make_folder_durably, sync_folder

EPOCH = ".epoch-"
"""Between job and number in the name of a run's folder."""


@dataclass(frozen=True)
class DataFolder:
    """The folder that a node keeps everything in."""

    folder: Path

    @property
    def spool(self) -> Path:
        """Received instances."""
        return self.folder / "spool"

    @property
    def results(self) -> Path:
        """Verified objects."""
        return self.folder / "results"

    @property
    def delivered(self) -> Path:
        """Results in the embedded destination."""
        return self.folder / "delivered"

    @property
    def cache(self) -> Path:
        """Compiled graphs."""
        return self.folder / "cache"

    @property
    def plans(self) -> Path:
        """TensorRT plans, unless the configuration names another folder."""
        return self.folder / "plans"

    @property
    def crashes(self) -> Path:
        """Record of the jobs at work."""
        return self.folder / "crashes"

    @property
    def members(self) -> Path:
        """Files of the processes that share the folder."""
        return self.folder / "members"

    @property
    def fetched(self) -> Path:
        """Copies of what gateways hold."""
        return self.folder / "fetched"

    @property
    def attempts(self) -> Path:
        """Results that are being made, to be brought to a gateway."""
        return self.folder / "attempts"

    @property
    def numbers(self) -> Path:
        """Register of Series Numbers."""
        return self.folder / "numbers.sqlite"

    @property
    def corrections(self) -> Path:
        """Register of corrections."""
        return self.folder / "corrections.sqlite"

    @property
    def shadow(self) -> Path:
        """Register of the shadow model's work."""
        return self.folder / "shadow.sqlite"

    @property
    def shadow_lock(self) -> Path:
        """Locked by the one process of several that computes with the shadow model."""
        return self.folder / "shadow.lock"

    @property
    def models(self) -> Path:
        """Promoted models."""
        return self.folder / "models"

    @property
    def tries(self) -> Path:
        """Uploads at the page, and their results."""
        return self.folder / "tries"

    def located(self, path: Path) -> Path:
        """Return where a stored path leads: one that is not absolute, into this folder."""
        return self.folder / path

    def result(self, job: str) -> Path:
        """Return where the SEG of a job lies."""
        return self.results / f"{job}.dcm"

    def run(self, job: str, epoch: int) -> Path:
        """Return the folder for the results of one run of a job, where several processes work."""
        return self.results / f"{job}{EPOCH}{epoch}"

    def runs(self) -> list[tuple[str, Path]]:
        """Return the folders of runs that are there, each with the name of its job."""
        return [(each.name.rpartition(EPOCH)[0], each) for each in self.results.glob(f"*{EPOCH}*")]

    def runs_of(self, job: str) -> list[Path]:
        """Return the folders of a job's runs that are there."""
        return sorted(self.results.glob(f"{job}{EPOCH}*"))

    def results_of(self, job: str, folder: Path | None = None) -> list[Path]:
        """Return the files of a job's results that are there: the SEG, and those beside it.

        Args:
            job: its name.
            folder: `Outcome.folder` of the run that counts; those of all runs when absent.
        """
        folders = [folder] if folder else [self.results, *self.runs_of(job)]
        return [file for each in folders for file in self._results_in(each, job)]

    def _results_in(self, folder: Path, job: str) -> list[Path]:
        seg = folder / self.result(job).name
        beside = (*folder.glob(f"{job}.*.dcm"), *folder.glob(f"{job}.*.html"))
        return [*filter(Path.exists, [seg]), *sorted(beside), *self.pictures_of(job, folder)]

    def kept_labels_of(self, job: str, folder: Path | None = None) -> list[Path]:
        """Return the labels that are kept of a job, one file for each stack."""
        folders = [folder] if folder else [self.results, *self.runs_of(job)]
        names = f"{job}.labels.npz", f"{job}.*.labels.npz"
        return sorted(file for each in folders for name in names for file in each.glob(name))

    def shadow_files_of(self, job: str) -> list[Path]:
        """Return what a shadow model and its comparison keep of a job."""
        ends = "shadow-*.npz", "drawn-*.npz"
        names = (f"{job}.{middle}{end}" for middle in ("", "*.") for end in ends)
        return sorted({path for name in names for path in self.results.glob(name)})

    def shadow_labels(self, stack: str, digest: str) -> Path:
        """Return where the labels of a shadow model lie, beside the kept labels `stack`."""
        return self.results / f"{_without_suffix(stack)}.shadow-{digest[:12]}.npz"

    def drawing(self, stack: str, uid: str) -> Path:
        """Return where the drawing of a SEG is kept, beside the kept labels `stack`."""
        # Derived: a UID from outside must not choose a file.
        name = hashlib.sha256(uid.encode()).hexdigest()[:16]
        return self.results / f"{_without_suffix(stack)}.drawn-{name}.npz"

    def pictures_of(self, job: str, folder: Path | None = None) -> list[Path]:
        """Return the pictures of a job's contours in a folder of results, one for each stack."""
        there = folder or self.results
        return sorted((*there.glob(f"{job}.png"), *there.glob(f"{job}.*.png")))

    @property
    def name(self) -> str:
        """Name of the node that this folder belongs to; empty before its first start."""
        try:
            return (self.folder / "node").read_text("ascii", "replace").strip()
        except FileNotFoundError:
            return ""

    @contextmanager
    def claimed(self) -> Iterator[str]:
        """Keep other nodes out while the block lasts; yields this node's own, lasting name.

        The kernel drops the lock with the process, however that ends.

        Raises:
            AlreadyRunning: another node is at work in this folder.
            BadConfiguration: the folder cannot be made or written.
        """
        handle = self._open()
        try:
            if not locked(handle, fcntl.LOCK_EX):
                raise AlreadyRunning(
                    f"another node works in {self.folder}; give this one a folder of its own"
                    " (node.data)"
                )
            # Under the lock: no other node has a part under way.
            for leftover in self.results.glob("*.part"):
                leftover.unlink()
            yield _name(handle)
        finally:
            # This releases the lock.
            os.close(handle)

    @contextmanager
    def shared(self) -> Iterator[str]:
        """Share the folder with other roles while the block lasts; yields the folder's name.

        Raises:
            AlreadyRunning: a node that shares it with nobody works in it.
            BadConfiguration: the folder cannot be made or written.
        """
        handle = self._open()
        try:
            self.members.mkdir(mode=0o700, exist_ok=True)
            if not locked(handle, fcntl.LOCK_SH):
                raise AlreadyRunning(
                    f"`hepar serve` works in {self.folder}, which it shares with nobody; end it, or"
                    " set node.data to another folder"
                )
            yield self._named(handle)
        finally:
            os.close(handle)

    def _named(self, handle: int) -> str:
        """Return the name of the folder, which others may ask for at the same time."""
        naming = os.open(self.members / ".naming", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(naming, fcntl.LOCK_EX)
            return _name(handle)
        finally:
            os.close(naming)

    @property
    def _folders(self) -> tuple[Path, ...]:
        """The folder and those in it that exist from the start."""
        inner = self.spool, self.results, self.cache, self.crashes, self.tries
        return self.folder, *inner

    def _open(self) -> int:
        try:
            for folder in self._folders:
                make_folder_durably(folder)
            # What patients' data lies in is the node's alone, whatever the umask; the folder itself
            # stays open, because `delivered` in it is there to be read.
            for private in (self.spool, self.results, self.tries):
                private.chmod(0o700)
            handle = os.open(self.folder / "node", os.O_RDWR | os.O_CREAT, 0o600)
            # Without its name the file, and the node's with it, is gone after a power cut.
            sync_folder(self.folder)
            return handle
        except OSError as error:
            raise BadConfiguration(
                f"cannot write to {self.folder}: {error.strerror}; set node.data to a folder that"
                " this user may write"
            ) from error


def locked(handle: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file unless another process, or another opening of it, has a lock in the way."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _without_suffix(stack: str) -> str:
    return stack.removesuffix(".labels.npz")


def _name(handle: int) -> str:
    """Return the name in the file, giving it one the first time."""
    if name := os.read(handle, 100).decode("ascii", "replace").strip():
        return name
    name = str(uuid.uuid4())
    os.write(handle, name.encode())
    # Before it is used: DBOS gives unfinished work only to a node of the same name.
    os.fsync(handle)
    return name
