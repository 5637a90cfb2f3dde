"""Register of Series Numbers in PostgreSQL, for a cluster whose processes share no folder."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Engine, delete, func, insert, select

from dicom_node.cluster.tables import series_numbers
from dicom_node.results.attributes.number_register import first_free


@dataclass(frozen=True)
class NumberTable:
    """Numbers of series, study by study, of one cluster."""

    engine: Engine
    cluster: str

    def take(self, study_uid: str, series_uid: str, wanted: Iterable[int]) -> int:
        """Return the number of a series: the one that it has, else the first that is free."""
        row = series_numbers.c
        study = row.folder == self.cluster, row.study_uid == study_uid
        with self.engine.begin() as connection:
            # One at a time in a study: between the look and the entry another could take it.
            name = f"numbers of {self.cluster} {study_uid}"
            connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))
            taken: dict[str, int] = {
                each.series_uid: each.number
                for each in connection.execute(select(series_numbers).where(*study))
            }
            if series_uid not in taken:
                taken[series_uid] = first_free(wanted, {*taken.values()})
                new = {
                    "folder": self.cluster,
                    "study_uid": study_uid,
                    "series_uid": series_uid,
                    "number": taken[series_uid],
                }
                connection.execute(insert(series_numbers).values(**new))
        return taken[series_uid]

    def forget(self, study_uids: Iterable[str]) -> None:
        """Forget the numbers of these studies."""
        row = series_numbers.c
        which = row.folder == self.cluster, row.study_uid.in_([*study_uids])
        with self.engine.begin() as connection:
            connection.execute(delete(series_numbers).where(*which))
