"""Register of corrections: a file that outlives the jobs, and holds no patient."""

import json
import sqlite3
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

from dicom_node.corrections.correction import Correction, Scanner, ShadowDice
from dicom_node.registers.register_file import RegisterFile

TABLE = """
CREATE TABLE IF NOT EXISTS corrections (
    uid TEXT PRIMARY KEY,
    job TEXT NOT NULL,
    content TEXT NOT NULL
) WITHOUT ROWID
"""


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

    def add_shadow(self, uid: str, shadow: ShadowDice) -> None:
        """Add a shadow model's Dice to a correction; one of the same model is replaced.

        Raises:
            OSError, StoreUnusable: as above.
        """
        with self._file.transaction() as store:
            query = "SELECT content FROM corrections WHERE uid = ?"
            for (content,) in store.execute(query, (uid,)).fetchall():
                known = _correction(content)
                others = (each for each in known.shadows if each.digest != shadow.digest)
                _write(store, replace(known, shadows=(*others, shadow)))

    def all(self) -> list[Correction]:
        """Return every correction, the oldest first.

        Raises:
            StoreUnusable: the file cannot be opened or read.
        """
        return self._read("SELECT content FROM corrections", ())

    def of(self, job: str) -> list[Correction]:
        """Return the corrections of one job's results, the oldest first."""
        return self._read("SELECT content FROM corrections WHERE job = ?", (job,))

    def _read(self, query: str, values: tuple[str, ...]) -> list[Correction]:
        try:
            self._file.path.stat()
        except OSError:  # none came yet; or the folder is another machine's
            return []
        with self._file.transaction() as store:
            rows = store.execute(query, values).fetchall()
        return sorted((_correction(row[0]) for row in rows), key=lambda each: each.arrived)


def _write(store: sqlite3.Connection, correction: Correction) -> None:
    content = asdict(correction) | {"arrived": correction.arrived.isoformat()}
    row = correction.uid, correction.job, json.dumps(content)
    store.execute("INSERT OR REPLACE INTO corrections VALUES (?, ?, ?)", row)


def _correction(content: str) -> Correction:
    stored = json.loads(content)
    stored["scanner"] = Scanner(**stored["scanner"])
    stored["arrived"] = datetime.fromisoformat(stored["arrived"])
    # Absent in what older versions wrote.
    stored["shadows"] = tuple(ShadowDice(**each) for each in stored.get("shadows", ()))
    return Correction(**stored)
