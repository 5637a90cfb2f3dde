"""Kept uploads: a folder each, removed after their time.

<id>/tryout.json   the record
<id>/upload/       files as they came, until the results exist
<id>/<stem>.*      results
"""

import re
import secrets
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dicom_node.errors import UnknownTryout
from dicom_node.tryout.tryout import Tryout
from engine.durable_files import write_durably

NAME = re.compile(r"[A-Za-z0-9_-]{22}")
RECORD, UPLOAD = "tryout.json", "upload"


class Shelf:
    """The kept uploads of one node."""

    def __init__(self, folder: Path, keep: timedelta) -> None:
        self.folder = folder
        self.keep = keep

    def create(self, user: str) -> Tryout:
        """Make room for an upload, and return its record."""
        made = Tryout(secrets.token_urlsafe(16), user, datetime.now(UTC))
        (self.folder / made.id / UPLOAD).mkdir(parents=True)
        return made

    def uploaded(self, name: str) -> Path:
        """Return the folder of the files as they came."""
        return self.folder / name / UPLOAD

    def result(self, name: str, file: str) -> Path:
        """Return where a result lies."""
        return self.folder / name / file

    def save(self, tryout: Tryout) -> None:
        """Keep a record."""
        write_durably(self.folder / tryout.id / RECORD, tryout.to_json())

    def find(self, name: str) -> Tryout:
        """Return the record of an upload.

        Raises:
            UnknownTryout: there is none.
        """
        try:
            if NAME.fullmatch(name):
                return Tryout.from_json((self.folder / name / RECORD).read_bytes())
        except (OSError, ValueError):
            pass
        hours = self.keep.total_seconds() / 3600
        raise UnknownTryout(f"no such upload; results are removed after {hours:g} hours")

    def all(self) -> list[Tryout]:
        """Return every record, the newest first."""
        found = list(self._records())
        return sorted(found, key=lambda each: each.created, reverse=True)

    def until(self, tryout: Tryout) -> datetime:
        """Return when an upload and its results are removed."""
        return tryout.created + self.keep

    def drop_uploaded(self, name: str) -> None:
        """Remove the files as they came."""
        shutil.rmtree(self.uploaded(name), ignore_errors=True)

    def remove(self, name: str) -> None:
        """Remove an upload and its results."""
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def sweep(self, now: datetime) -> list[str]:
        """Remove what has been kept long enough; return which."""
        over = [each.id for each in self._records() if self.until(each) <= now]
        over += [path.name for path in self._without_record(now - self.keep)]
        for name in over:
            self.remove(name)
        return over

    def _records(self) -> Iterator[Tryout]:
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            try:
                yield self.find(path.name)
            except UnknownTryout:
                continue

    def _without_record(self, before: datetime) -> Iterator[Path]:
        """Yield what a process that died left of an intake."""
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            try:
                old = datetime.fromtimestamp(path.stat().st_mtime, UTC) < before
            except FileNotFoundError:
                continue
            if old and not (path / RECORD).exists():
                yield path
