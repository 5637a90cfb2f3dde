"""Files that a gateway holds, by the names under which others ask for them."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dicom_node.data_folder import DataFolder
from dicom_node.jobs.content_digest import stamp_of
from dicom_node.receive.header import SeriesKey, is_uid

JOB = re.compile(r"[0-9a-f]{16}(-\d+)?")
"""Name of a job, as `jobs.submit.submission` makes them."""

RESULT = re.compile(r"[0-9A-Za-z._-]+\.(dcm|html|png|npz)")
"""Name of a file of a result."""


MODIFIED = "X-Modified-Ns"
"""Header with the time of a file's last change, in nanoseconds: Last-Modified has whole seconds."""


@dataclass(frozen=True)
class HeldFile:
    """A file as it is listed."""

    name: str
    size: int
    modified_ns: int
    """Time of its last change, in nanoseconds since 1970."""
    stamp: str
    """`content_digest.stamp_of`."""

    def to_json(self) -> dict[str, Any]:
        """Return the file in JSON's own types."""
        return asdict(self)

    @classmethod
    def of(cls, path: Path) -> "HeldFile":
        """Return a file as it is now.

        Raises:
            OSError: it is not there.
        """
        stat = path.stat()
        return cls(path.name, stat.st_size, stat.st_mtime_ns, stamp_of(path))

    def is_copied_to(self, path: Path) -> bool:
        """Return whether a file has the size and the time of this one, as a copy of it has."""
        try:
            stat = path.stat()
        except FileNotFoundError:
            return False
        return (stat.st_size, stat.st_mtime_ns) == (self.size, self.modified_ns)


@dataclass(frozen=True)
class HeldFiles:
    """The received instances and the results in one data folder.

    Names come from outside: one that is none of ours leads to no path.
    """

    data: DataFolder

    def instances(self, series: SeriesKey) -> list[HeldFile]:
        """Return the instances of a series; none if it is not here."""
        if not (is_uid(series.study_uid) and is_uid(series.series_uid)):
            return []
        return _listed(sorted(self._folder(series).glob("*.dcm")))

    def instance(self, series: SeriesKey, name: str) -> Path | None:
        """Return where an instance lies, by the name of its file; None if it is not here."""
        uids = series.study_uid, series.series_uid, name.removesuffix(".dcm")
        if not (name.endswith(".dcm") and all(map(is_uid, uids))):
            return None
        return _there(self._folder(series) / name)

    def results(self, job: str) -> list[HeldFile]:
        """Return the files of a job's results and its kept labels; none if it has none here."""
        if not JOB.fullmatch(job):
            return []
        return _listed([*self.data.results_of(job), *self.data.kept_labels_of(job)])

    def result(self, job: str, name: str) -> Path | None:
        """Return where a file of a job's result lies; None if it is not here."""
        path = self.place_of_result(job, name)
        return None if path is None else _there(path)

    def place_of_result(self, job: str, name: str) -> Path | None:
        """Return where a file of a job's result is to lie; None if it has the name of none."""
        ours = JOB.fullmatch(job) and RESULT.fullmatch(name) and name.startswith(f"{job}.")
        return self.data.results / name if ours else None

    def _folder(self, series: SeriesKey) -> Path:
        return self.data.spool / series.study_uid / series.series_uid


def _there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _listed(paths: Sequence[Path]) -> list[HeldFile]:
    found = []
    for path in paths:
        try:
            found.append(HeldFile.of(path))
        except FileNotFoundError:  # removed since the folder was read
            continue
    return found
