"""Series that come in at the gateways of a cluster, as PostgreSQL keeps them.

A gateway has a part in a series from its first instance until it expects nothing more of it. Whose
part is the last one hands the series over, with what all of them have put into the spool.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Engine, Select, and_, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from dicom_node.cluster.membership import is_alive
from dicom_node.cluster.tables import expectations, members, parts
from dicom_node.receive.header import SeriesKey


@dataclass(frozen=True)
class Arrivals:
    """The series that come in to one folder, as one gateway writes and reads them."""

    engine: Engine
    folder: str
    gateway: str

    def open(self, series: Iterable[SeriesKey]) -> None:
        """Note that this gateway has a part in these series."""
        with self.engine.begin() as connection:
            self._open(connection, series)

    def is_last(self, series: SeriesKey, here: int) -> bool:
        """Return whether this gateway is to hand over a series; if not, its part ends here.

        Args:
            series: the series, of which this gateway expects nothing more.
            here: number of its instances in the spool; at the announced number nobody waits.
        """
        mine, others = self._parts(series, mine=True), self._waited_for(series)
        with self.engine.begin() as connection:
            # One gateway at a time: of two that end together, one has to be the last.
            self._lock(connection, series)
            announced = connection.scalar(self._announced([series.series_uid]))
            complete = announced is not None and here >= announced
            if (
                complete
                or not connection.execute(update(parts).where(others).values(again=True)).rowcount
            ):
                # Before the spool is looked at: what is left to this one from now on is seen.
                connection.execute(update(parts).where(mine).values(again=False))
                return True
            connection.execute(delete(parts).where(mine))
            return False

    def close(self, series: SeriesKey) -> bool:
        """Forget a series that this gateway has handed over.

        Return False where others have left instances to it meanwhile: it is to look again.
        """
        mine = self._parts(series, mine=True)
        with self.engine.begin() as connection:
            self._lock(connection, series)
            if connection.scalar(select(exists().where(mine, parts.c.again))):
                return False
            connection.execute(delete(parts).where(mine))
            connection.execute(delete(expectations).where(self._expected([series.series_uid])))
            return True

    def expect(self, series_uid: str, instances: int) -> None:
        """Announce the number of instances of a series to every gateway."""
        row = {"folder": self.folder, "series_uid": series_uid, "instances": instances}
        statement = (
            insert(expectations)
            .values(**row)
            .on_conflict_do_update(constraint=expectations.primary_key, set_=row)
        )
        with self.engine.begin() as connection:
            connection.execute(statement)

    def expected(self, series_uids: Collection[str]) -> dict[str, int]:
        """Return the announced numbers of instances of these series, where there are any."""
        columns = expectations.c.series_uid, expectations.c.instances
        with self.engine.connect() as connection:
            rows = connection.execute(select(*columns).where(self._expected(series_uids))).all()
        return {each.series_uid: each.instances for each in rows}

    def leave(self, series: Iterable[SeriesKey]) -> set[SeriesKey]:
        """Leave series to gateways that have a part in them; return those that one has."""
        found = set()
        with self.engine.begin() as connection:
            for each in series:
                others = and_(self._parts(each, mine=False), self._is_of_the_living())
                if connection.execute(update(parts).where(others).values(again=True)).rowcount:
                    found.add(each)
        return found

    def adopt(self) -> None:
        """Take over the parts of gateways that are dead."""
        orphans = and_(parts.c.folder == self.folder, ~self._is_of_the_living())
        with self.engine.begin() as connection:
            # Deleted by one gateway alone, and in one transaction noted as its own.
            gone = delete(parts).where(orphans).returning(parts.c.study_uid, parts.c.series_uid)
            self._open(connection, {SeriesKey(*row) for row in connection.execute(gone)})

    def mine(self) -> set[SeriesKey]:
        """Return the series in which this gateway has a part."""
        where = parts.c.folder == self.folder, parts.c.gateway == self.gateway
        statement = select(parts.c.study_uid, parts.c.series_uid).where(*where)
        with self.engine.connect() as connection:
            return {SeriesKey(*row) for row in connection.execute(statement)}

    def _open(self, connection: Connection, series: Iterable[SeriesKey]) -> None:
        mine = {"folder": self.folder, "gateway": self.gateway}
        rows = [
            {**mine, "study_uid": each.study_uid, "series_uid": each.series_uid} for each in series
        ]
        if rows:
            connection.execute(insert(parts).on_conflict_do_nothing(), rows)

    def _lock(self, connection: Connection, series: SeriesKey) -> None:
        """Keep other gateways from this series until the transaction ends."""
        name = f"{self.folder} {series.study_uid} {series.series_uid}"
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))

    def _parts(self, series: SeriesKey, *, mine: bool) -> ColumnElement[bool]:
        own = parts.c.gateway == self.gateway
        return and_(
            parts.c.folder == self.folder,
            parts.c.study_uid == series.study_uid,
            parts.c.series_uid == series.series_uid,
            own if mine else ~own,
        )

    def _waited_for(self, series: SeriesKey) -> ColumnElement[bool]:
        """Return the condition of parts that others have, and that are to end before this one."""
        return self._parts(series, mine=False)

    def _is_of_the_living(self) -> ColumnElement[bool]:
        same = members.c.folder == parts.c.folder, members.c.name == parts.c.gateway
        return exists().where(*same, is_alive())

    def _expected(self, series_uids: Collection[str]) -> ColumnElement[bool]:
        uids = expectations.c.series_uid.in_(series_uids)
        return and_(expectations.c.folder == self.folder, uids)

    def _announced(self, series_uids: Collection[str]) -> Select[int]:
        return select(expectations.c.instances).where(self._expected(series_uids))


@dataclass(frozen=True)
class Studies:
    """The studies of which series come in to one folder."""

    engine: Engine
    folder: str

    def quiet_s(self, study_uid: str) -> float:
        """Return 0 while a series of a study comes in at any gateway, infinity otherwise."""
        coming = exists().where(parts.c.folder == self.folder, parts.c.study_uid == study_uid)
        with self.engine.connect() as connection:
            return 0.0 if connection.scalar(select(coming)) else float("inf")

    def now_s(self) -> float:
        """Return the time of the server, by which jobs are queued, in seconds since 1970."""
        with self.engine.connect() as connection:
            return float(connection.scalar(select(func.extract("epoch", func.now()))) or 0.0)

    def arriving(self) -> list[tuple[SeriesKey, int | None]]:
        """Return the series that come in, each with the announced number of its instances."""
        both = and_(
            expectations.c.folder == parts.c.folder,
            expectations.c.series_uid == parts.c.series_uid,
        )
        columns = parts.c.study_uid, parts.c.series_uid, expectations.c.instances
        statement = select(*columns).select_from(parts.outerjoin(expectations, both)).distinct()
        with self.engine.connect() as connection:
            rows = connection.execute(statement.where(parts.c.folder == self.folder)).all()
        return [(SeriesKey(*row[:2]), row.instances) for row in rows]
