"""Series Numbers in use in each study, so that no two series of one study have the same.

A number is chosen by the UID of its series, and taken as it is where nothing else in the study has
it; that is so in all but one of 100,000 cases. Otherwise the next free number is taken. The
register keeps what was taken: the same work done again has the same UID, and by it the same number,
whatever else came to the study meanwhile. A second node, or one that lost its register, may number
an object otherwise in that one case; number and UID are independent, so it is the same object.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Protocol

from dicom_node.registers.register_file import RegisterFile

TABLE = """
CREATE TABLE IF NOT EXISTS series_numbers (
    study TEXT NOT NULL,
    series TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (study, series)
) WITHOUT ROWID
"""


class NumberRegister(Protocol):
    """Numbers of series, study by study."""

    def take(self, study_uid: str, series_uid: str, wanted: Iterable[int]) -> int:
        """Return the number of a series: the one that it has, else the first that is free.

        Where none of them is free, that is the first of them all.
        """


class LastingNumbers(NumberRegister, Protocol):
    """Numbers that outlive a run."""

    def forget(self, study_uids: Iterable[str]) -> None:
        """Forget the numbers of these studies."""


class NumbersOfRun:
    """Register of one run, in memory."""

    def __init__(self) -> None:
        self._studies: dict[str, dict[str, int]] = defaultdict(dict)
        self._lock = threading.Lock()

    def take(self, study_uid: str, series_uid: str, wanted: Iterable[int]) -> int:
        """Return the number of a series: the one that it has, else the first that is free."""
        with self._lock:
            # Objects are made in several threads; between the look and the entry another could take
            # it.
            numbers = self._studies[study_uid]
            if series_uid not in numbers:
                numbers[series_uid] = first_free(wanted, {*numbers.values()})
            return numbers[series_uid]


class StoredNumbers:
    """Register in a file, which threads, and commands beside a running node, share."""

    def __init__(self, path: Path) -> None:
        self._file = RegisterFile(path, TABLE)

    def take(self, study_uid: str, series_uid: str, wanted: Iterable[int]) -> int:
        """Return the number of a series: the one that it has, else the first that is free.

        Raises:
            OSError: the disk is full.
            StoreUnusable: the file cannot be opened, read or written.
        """
        with self._file.transaction() as store:
            there = "SELECT number FROM series_numbers WHERE study = ? AND series = ?"
            if row := store.execute(there, (study_uid, series_uid)).fetchone():
                return int(row[0])
            rows = store.execute("SELECT number FROM series_numbers WHERE study = ?", (study_uid,))
            number = first_free(wanted, {row[0] for row in rows})
            taken = study_uid, series_uid, number
            store.execute("INSERT INTO series_numbers VALUES (?, ?, ?)", taken)
            return number

    def forget(self, study_uids: Iterable[str]) -> None:
        """Forget the numbers of these studies.

        Raises:
            OSError: the disk is full.
            StoreUnusable: the file cannot be opened, read or written.
        """
        with self._file.transaction() as store:
            studies = [(each,) for each in study_uids]
            store.executemany("DELETE FROM series_numbers WHERE study = ?", studies)


def first_free(wanted: Iterable[int], taken: set[int]) -> int:
    """Return the first wanted number that is not taken; where all are, the first of them."""
    numbers = iter(wanted)
    first = next(numbers)
    return next((each for each in chain([first], numbers) if each not in taken), first)
