"""Which gateways hold instances of a series, and where each lends them, in PostgreSQL."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Engine, and_, delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from dicom_node.cluster.arrivals import Arrivals
from dicom_node.cluster.tables import addresses, holdings, parts
from dicom_node.receive.header import SeriesKey


class KeptArrivals(Arrivals):
    """Series that come in to gateways of which each keeps its own instances."""

    def adopt(self) -> None:
        """Take nothing over: what a dead gateway received lies there alone, until it is back."""

    def leave(self, series: Iterable[SeriesKey]) -> set[SeriesKey]:
        """Leave series to gateways that have a part in them, which fetch what lies here."""
        series = list(series)
        with self.engine.begin() as connection:
            # Before they look: what came just before a crash was not noted yet.
            self._hold(connection, series)
        return super().leave(series)

    def _waited_for(self, series: SeriesKey) -> ColumnElement[bool]:
        # What is left to a dead gateway would be handed over by nobody.
        return and_(self._parts(series, mine=False), self._is_of_the_living())

    def _open(self, connection: Connection, series: Iterable[SeriesKey]) -> None:
        series = list(series)
        super()._open(connection, series)
        # In the same transaction: who sees that this gateway has no part any more sees what it has.
        self._hold(connection, series)

    def _hold(self, connection: Connection, series: Iterable[SeriesKey]) -> None:
        mine = {"folder": self.folder, "gateway": self.gateway}
        rows = [
            {**mine, "study_uid": each.study_uid, "series_uid": each.series_uid} for each in series
        ]
        if rows:
            noted = insert(holdings).on_conflict_do_update(
                constraint=holdings.primary_key, set_={"noted": func.clock_timestamp()}
            )
            connection.execute(noted, rows)


@dataclass(frozen=True)
class Whereabouts:
    """The gateways of one cluster, and what each of them holds."""

    engine: Engine
    cluster: str

    def announce(self, gateway: str, url: str) -> None:
        """Note where a gateway lends its files."""
        row = {"folder": self.cluster, "gateway": gateway, "url": url}
        statement = insert(addresses).values(**row)
        statement = statement.on_conflict_do_update(constraint=addresses.primary_key, set_=row)
        with self.engine.begin() as connection:
            connection.execute(statement)

    def address(self, gateway: str) -> str:
        """Return where a gateway lends its files; empty where none of that name ever did."""
        which = addresses.c.folder == self.cluster, addresses.c.gateway == gateway
        with self.engine.connect() as connection:
            return connection.scalar(select(addresses.c.url).where(*which)) or ""

    def holders(self, series: SeriesKey) -> list[str]:
        """Return the gateways that hold instances of a series, by name."""
        statement = select(holdings.c.gateway).where(
            holdings.c.folder == self.cluster,
            holdings.c.study_uid == series.study_uid,
            holdings.c.series_uid == series.series_uid,
        )
        with self.engine.connect() as connection:
            return sorted(connection.scalars(statement))

    def forget(self, gateway: str, is_held: Callable[[SeriesKey], bool]) -> None:
        """Forget the series of which a gateway holds nothing any more."""
        own = and_(holdings.c.folder == self.cluster, holdings.c.gateway == gateway)
        with self.engine.connect() as connection:
            rows = connection.execute(select(holdings).where(own)).all()
        for row in rows:
            if is_held(SeriesKey(row.study_uid, row.series_uid)):
                continue
            this = holdings.c.study_uid == row.study_uid, holdings.c.series_uid == row.series_uid
            part = parts.c.folder == self.cluster, parts.c.gateway == gateway
            same = parts.c.study_uid == row.study_uid, parts.c.series_uid == row.series_uid
            # More may come while it has a part; and one that came after the look is noted anew.
            still = holdings.c.noted == row.noted, ~exists().where(*part, *same)
            gone = delete(holdings).where(own, *this, *still)
            with self.engine.begin() as connection:
                connection.execute(gone)
