"""Bounded copies of files that a gateway holds, laid out as there."""

import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dicom_node.data_folder import DataFolder
from dicom_node.receive.header import SeriesKey
from engine.durable_files import PART


@dataclass(frozen=True)
class _Unit:
    """What is removed at once: a series, or one file of a result."""

    path: Path
    used: datetime
    size: int


@dataclass
class Cache:
    """A folder of copies; what was used longest ago goes first."""

    folder: Path
    most_bytes: int
    keep: timedelta
    """Copies that were not used for so long are removed."""
    _in_use: Counter[Path] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        for each in (self.data.spool, self.data.results):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in self.folder.rglob(f"*{PART}"):  # of a process that was killed
            leftover.unlink()

    @property
    def data(self) -> DataFolder:
        """The copies, laid out as in a data folder."""
        return DataFolder(self.folder)

    @contextmanager
    def series(self, series: SeriesKey) -> Iterator[Path]:
        """Keep the copies of a series while the block lasts; yields their folder."""
        folder = self.data.spool / series.study_uid / series.series_uid
        with self._using(folder):
            with self._lock:  # `trim` removes empty folders
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                yield folder
            finally:
                os.utime(folder)
        # Only here: series are what fills the disk.
        self.trim(datetime.now(UTC))

    @contextmanager
    def result(self, name: str) -> Iterator[Path]:
        """Keep the copy of a file of a result while the block lasts; yields its place."""
        path = self.data.results / name
        with self._using(path):
            yield path
            if path.exists():
                touch(path)

    @contextmanager
    def _using(self, path: Path) -> Iterator[None]:
        with self._lock:
            self._in_use[path] += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_use[path] -= 1
                self._in_use += Counter()  # drops those at zero

    def trim(self, now: datetime) -> None:
        """Remove what was not used for long, and more until the rest is small enough."""
        with self._lock:
            units = sorted(self._units(), key=lambda unit: unit.used)
            size = sum(unit.size for unit in units)
            for unit in units:
                if unit.path in self._in_use:
                    continue
                if unit.used < now - self.keep or size > self.most_bytes:
                    _remove(unit)
                    size -= unit.size

    def _units(self) -> Iterator[_Unit]:
        for path in (*self.data.spool.glob("*/*"), *self.data.results.iterdir()):
            if path.suffix == PART:  # it is being fetched
                continue
            try:
                stat = path.stat()
                files = [*path.iterdir()] if path.is_dir() else [path]
                size = sum(each.stat().st_size for each in files)
            except FileNotFoundError:  # removed, or a part that is in its place by now
                continue
            used_s = stat.st_mtime if path.is_dir() else stat.st_ctime
            yield _Unit(path, datetime.fromtimestamp(used_s, UTC), size)


def touch(path: Path) -> None:
    """Note that a copy of a result is used: by its ctime, as its mtime is the original's."""
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _remove(unit: _Unit) -> None:
    if not unit.path.is_dir():
        unit.path.unlink(missing_ok=True)
        return
    shutil.rmtree(unit.path)
    with suppress(OSError):  # other series of the study are there
        unit.path.parent.rmdir()
