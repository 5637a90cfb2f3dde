"""Register of the series that a shadow model has to compute, and of what became of each.

It is written with the result of a job, so that a crash loses no series; its rows end with the job.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dicom_node.jobs.records import SeriesTask
from dicom_node.registers.register_file import RegisterFile

TABLE = """
CREATE TABLE IF NOT EXISTS shadows (
    job TEXT NOT NULL,
    digest TEXT NOT NULL,
    model TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    deaths INTEGER NOT NULL,
    task TEXT NOT NULL,
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    UNIQUE (job, digest)
)
"""

DEATHS = 3
"""A series, or a model, of which the node died this often is not tried again."""

DIED = f"the node died {DEATHS} times while the shadow model was at work on it"

OPENING = ""
"""Stands in the place of a job while the model is opened."""


class ShadowState(StrEnum):
    """State of a series of a shadow model."""

    WAITING = "waits"
    COMPUTING = "is computed"
    COMPUTED = "computed"
    NOT_COMPUTED = "not computed"


@dataclass(frozen=True)
class ShadowWork:
    """A series that a shadow model computes."""

    job: str
    digest: str
    """Digest of the shadow model."""
    model: str
    """Its name and version."""
    state: ShadowState
    reason: str
    """Why it was not computed; empty otherwise."""
    task: SeriesTask | None
    """The series; None of the opening of the model."""

    @property
    def text(self) -> str:
        """What became of it, for people."""
        return f"{self.model}: {self.state}" + (f", {self.reason}" if self.reason else "")


class WorkRegister:
    """The register, in a file that threads, and commands beside a running node, share.

    Its methods raise `OSError` where the disk is full, and `StoreUnusable` where the file cannot be
    opened, read or written.
    """

    def __init__(self, path: Path) -> None:
        self._file = RegisterFile(path, TABLE)

    def add(self, job: str, digest: str, model: str, task: SeriesTask | None) -> None:
        """Add a series; one that is computed stays so, one that failed is due again."""
        content = json.dumps(task.to_json() if task else None)
        with self._file.transaction() as store:
            store.execute(
                "INSERT INTO shadows (job, digest, model, state, reason, deaths, task)"
                " VALUES (?, ?, ?, ?, '', 0, ?) ON CONFLICT (job, digest) DO UPDATE SET"
                " state = excluded.state, reason = '', deaths = 0, task = excluded.task"
                " WHERE state = ?",
                (job, digest, model, ShadowState.WAITING, content, ShadowState.NOT_COMPUTED),
            )

    def due(self, digest: str) -> list[ShadowWork]:
        """Return the series that wait for a model, the oldest first."""
        return [each for each in self._all("digest = ?", digest) if _is_due(each)]

    def of(self, job: str) -> list[ShadowWork]:
        """Return what shadow models did with a job, the oldest first."""
        return self._all("job = ?", job)

    def of_model(self, digest: str) -> list[ShadowWork]:
        """Return the series of a model, the oldest first."""
        return [each for each in self._all("digest = ?", digest) if each.job != OPENING]

    def trouble(self, digest: str) -> str:
        """Return why a model could not be opened the last time; empty where it could."""
        return next((each.reason for each in self.of(OPENING) if each.digest == digest), "")

    def begin(self, job: str, digest: str) -> None:
        """Note that a series is computed; a process that dies meanwhile leaves the note."""
        self._set(job, digest, ShadowState.COMPUTING)

    def put_back(self, job: str, digest: str) -> None:
        """Let a series wait again, which was interrupted in order."""
        self._set(job, digest, ShadowState.WAITING)

    def finish(self, job: str, digest: str, reason: str = "") -> bool:
        """Note that a series is computed, or why not; return whether it is still listed."""
        state = ShadowState.NOT_COMPUTED if reason else ShadowState.COMPUTED
        return self._set(job, digest, state, reason)

    def forget(self, job: str) -> None:
        """Forget what shadow models did with a job."""
        if self._file.path.exists():
            with self._file.transaction() as store:
                store.execute("DELETE FROM shadows WHERE job = ?", (job,))

    def take_up(self, digest: str) -> None:
        """Count the death of the process before this one, and give up what waits for other models.

        Args:
            digest: of the shadow model; empty without one.
        """
        if not self._file.path.exists():
            return
        again, computing = ShadowState.WAITING, ShadowState.COMPUTING
        with self._file.transaction() as store:
            store.execute("UPDATE shadows SET deaths = deaths + 1 WHERE state = ?", (computing,))
            store.execute("UPDATE shadows SET state = ? WHERE state = ?", (again, computing))
            store.execute(
                "UPDATE shadows SET state = ?, reason = ? WHERE state = ? AND deaths >= ?",
                (ShadowState.NOT_COMPUTED, DIED, again, DEATHS),
            )
            store.execute(
                "UPDATE shadows SET state = ?, reason = ? WHERE state = ? AND digest != ?",
                (
                    ShadowState.NOT_COMPUTED,
                    "its model is the shadow no longer (engine.shadow)",
                    again,
                    digest,
                ),
            )

    def _set(self, job: str, digest: str, state: ShadowState, reason: str = "") -> bool:
        with self._file.transaction() as store:
            changed = store.execute(
                "UPDATE shadows SET state = ?, reason = ? WHERE job = ? AND digest = ?",
                (state, reason, job, digest),
            )
            return changed.rowcount > 0

    def _all(self, where: str, value: str) -> list[ShadowWork]:
        if not self._file.path.exists():
            return []
        query = f"SELECT job, digest, model, state, reason, task FROM shadows WHERE {where}"
        with self._file.transaction() as store:
            rows = store.execute(f"{query} ORDER BY number", (value,)).fetchall()
        return [_work(row) for row in rows]


def _work(row: tuple[str, str, str, str, str, str]) -> ShadowWork:
    job, digest, model, state, reason, content = row
    stored = json.loads(content)
    task = SeriesTask.from_json(stored) if stored else None
    return ShadowWork(job, digest, model, ShadowState(state), reason, task)


def _is_due(work: ShadowWork) -> bool:
    return work.state is ShadowState.WAITING and work.job != OPENING
