"""Register of corrections: a file that outlives the jobs, and holds no patient."""

import json
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from dicom_node.corrections.correction import (
    WAITS,
    Correction,
    Scanner,
    ShadowDice,
    newest_of_each_result,
)
from dicom_node.registers.register_file import RegisterFile

TABLE = """
CREATE TABLE IF NOT EXISTS corrections (
    uid TEXT PRIMARY KEY,
    job TEXT NOT NULL,
    content TEXT NOT NULL
) WITHOUT ROWID
"""

MOST_UNCOUNTED = 1_000
"""Corrections that do not count and are kept: who sends SEGs at random must not fill the disk."""


class CorrectionRegister:
    """Corrections in a file, which threads, and commands beside a running node, share."""

    def __init__(self, path: Path) -> None:
        self._file = RegisterFile(path, TABLE)

    def keep(self, correction: Correction) -> None:
        """Keep a correction; the same SEG again replaces what is known of it.

        Raises:
            OSError: the disk is full.
            StoreUnusable: the file cannot be opened, read or written.
        """
        with self._file.transaction() as store:
            _write(store, correction)

    def note(self, waiting: Iterable[Correction]) -> None:
        """Note corrections that wait; what is known of the same SEGs stays until they are compared.

        Raises:
            OSError, StoreUnusable: as above.
        """
        with self._file.transaction() as store:
            for each in waiting:
                _write(store, each, "IGNORE")

    def end_wait(self, uid: str, reason: str) -> None:
        """State why a correction that waits is not compared; one that was compared stays as it is.

        Raises:
            OSError, StoreUnusable: as above.
        """
        self._change(
            uid, lambda known: replace(known, reason=reason) if known.reason == WAITS else known
        )

    def give_up(self, uid: str, stamp: str, reason: str) -> Correction:
        """State why a correction is not compared again while its file has this stamp; return it.

        What its file was compared with before no longer counts.

        Raises:
            OSError, StoreUnusable: as above.
        """
        new = Correction(uid, "", datetime.now(UTC))
        with self._file.transaction() as store:
            known = _of_uid(store, uid) or new
            ended = replace(known, reason=reason, dice={}, shadows=(), given_up=stamp)
            _write(store, ended)
        return ended

    def is_given_up(self, uid: str, stamp: str) -> bool:
        """Return whether a correction was given up, and its file is still the same.

        Raises:
            OSError, StoreUnusable: as above.
        """
        with self._file.transaction() as store:
            known = _of_uid(store, uid)
        return known is not None and known.given_up == stamp

    def trim(self, before: datetime) -> None:
        """Forget corrections that do not count: those of before a moment, and all but the newest.

        Raises:
            OSError, StoreUnusable: as above.
        """
        if not self._file.path.exists():
            return
        with self._file.transaction() as store:
            rows = store.execute("SELECT content FROM corrections").fetchall()
            every = sorted((_correction(row[0]) for row in rows), key=lambda each: each.arrived)
            counting = {each.uid for each in newest_of_each_result(every)}
            rest = [each for each in reversed(every) if each.uid not in counting]
            old = [each for each in rest[:MOST_UNCOUNTED] if each.arrived < before]
            gone = [(each.uid,) for each in (*old, *rest[MOST_UNCOUNTED:])]
            store.executemany("DELETE FROM corrections WHERE uid = ?", gone)

    def add_shadow(self, uid: str, shadow: ShadowDice) -> None:
        """Add a shadow model's Dice to a correction; one of the same model is replaced.

        Raises:
            OSError, StoreUnusable: as above.
        """

        def added(known: Correction) -> Correction:
            others = (each for each in known.shadows if each.digest != shadow.digest)
            return replace(known, shadows=(*others, shadow))

        self._change(uid, added)

    def all(self) -> list[Correction]:
        """Return every correction, the oldest first.

        Raises:
            StoreUnusable: the file cannot be opened or read.
        """
        return self._read("SELECT content FROM corrections", ())

    def of(self, job: str) -> list[Correction]:
        """Return the corrections of one job's results, the oldest first."""
        return self._read("SELECT content FROM corrections WHERE job = ?", (job,))

    def _change(self, uid: str, changed: Callable[[Correction], Correction]) -> None:
        """Replace a correction by what becomes of it, if it is there."""
        with self._file.transaction() as store:
            if known := _of_uid(store, uid):
                _write(store, changed(known))

    def _read(self, query: str, values: tuple[str, ...]) -> list[Correction]:
        try:
            self._file.path.stat()
        except OSError:  # none came yet; or the folder is another machine's
            return []
        with self._file.transaction() as store:
            rows = store.execute(query, values).fetchall()
        return sorted((_correction(row[0]) for row in rows), key=lambda each: each.arrived)


def _of_uid(store: sqlite3.Connection, uid: str) -> Correction | None:
    row = store.execute("SELECT content FROM corrections WHERE uid = ?", (uid,)).fetchone()
    return _correction(row[0]) if row else None


def _write(store: sqlite3.Connection, correction: Correction, conflict: str = "REPLACE") -> None:
    """Write a correction; at a conflict, where the SEG is known, REPLACE that or IGNORE this."""
    content = asdict(correction) | {"arrived": correction.arrived.isoformat()}
    if not correction.given_up:  # processes of an older version refuse what they do not know
        del content["given_up"]
    row = correction.uid, correction.job, json.dumps(content)
    store.execute(f"INSERT OR {conflict} INTO corrections VALUES (?, ?, ?)", row)


def _correction(content: str) -> Correction:
    stored = json.loads(content)
    stored["scanner"] = Scanner(**stored["scanner"])
    stored["arrived"] = datetime.fromisoformat(stored["arrived"])
    # Absent in what older versions wrote.
    stored["shadows"] = tuple(ShadowDice(**each) for each in stored.get("shadows", ()))
    return Correction(**stored)
