"""Wait of another caller's series behind 10,000: `python -m tests.benchmarks.bench backlog`.

Urgent ones have a queue of their own, and one that is not urgent has its turn.

Two workers of a cluster compute. The others are rows of the job store, copies of one that waits.
"""

from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection, Engine, TextClause, create_engine, text

from dicom_node.jobs.submit.fair_share import QUANTUM
from tests.benchmarks.marks import Mark
from tests.dicom_node.node_process import SleepingThresholds
from tests.system.cluster import Cluster
from tests.system.postgres import Postgres, postgres_program
from tests.system.small_series import series
from tests.waiting import wait_until

WAITING = 10_000

SLICE_S = 0.2

ROUNDS = 5
"""Urgent series, one after the other."""

RULES = {"calling": ["STAT"]}
"""Of urgent series."""

COLUMNS = text(
    "SELECT column_name FROM information_schema.columns"
    " WHERE table_schema = 'dbos' AND table_name = 'workflow_status'"
    " AND is_generated = 'NEVER'"
    " AND column_name NOT IN ('workflow_uuid', 'priority', 'created_at')"
)

URGENT = text(
    "SELECT (started_at_epoch_ms - created_at) / 1000.0, (completed_at - created_at) / 1000.0"
    " FROM dbos.workflow_status"
    " WHERE name = 'segment' AND status = 'SUCCESS' AND queue_name LIKE 'urgent%'"
)

TURN = text(
    "SELECT (started_at_epoch_ms - created_at) / 1000.0 FROM dbos.workflow_status"
    " WHERE name = 'segment' AND authenticated_user = 'OTHER' AND started_at_epoch_ms IS NOT NULL"
)

OTHERS = text(
    "SELECT avg(completed_at - started_at_epoch_ms) / 1000.0 FROM dbos.workflow_status"
    " WHERE name = 'segment' AND status = 'SUCCESS' AND queue_name NOT LIKE 'urgent%'"
)


def measure(folder: Path) -> list[Mark]:
    """Let series of one caller wait, and send urgent ones of another, and one of a third."""
    if postgres_program("initdb") is None:
        return [Mark("backlog", "", "needs Debian's postgresql", None)]
    with (
        Postgres() as server,
        Cluster(folder / "backlog", server.url, urgent=RULES) as cluster,
    ):
        cluster.dead_s = 600.0
        gateway = cluster.gateway()
        emergency, other = (replace(gateway, calling_ae_title=each) for each in ("STAT", "OTHER"))
        gateway.send_many(series(cluster.folder / "first"))
        wait_until(cluster.jobs, what="the first job")
        engine = create_engine(server.url.replace("postgresql", "postgresql+psycopg", 1))
        with engine.begin() as store:
            _multiply(store)
        for _ in range(2):
            cluster.start("work", device=SleepingThresholds(SLICE_S))
        wait_until(lambda: cluster.lines("works with model") == 2)
        for number in range(ROUNDS):
            emergency.send_many(series(cluster.folder / f"urgent{number}"))
            _wait_for(engine, URGENT, number + 1)
        other.send_many(series(cluster.folder / "other"))
        _wait_for(engine, TURN, 1)
        with engine.connect() as store:
            started, ended = zip(*store.execute(URGENT), strict=True)
            job = store.execute(OTHERS).scalar_one()
            waited = float(store.execute(TURN).scalar_one())
        engine.dispose()
    worst = max(map(float, started))
    promised = f"one job's time ({job:.1f} s) or less"
    measured = f"{worst:.1f} s at most of {ROUNDS}; done after {max(map(float, ended)):.1f} s"
    name = f"an urgent series behind {WAITING} others: until it begins"
    turn = f"another caller's series behind {WAITING} others: until it begins"
    return [
        Mark(name, promised, measured, worst <= job),
        Mark(turn, promised, f"{waited:.1f} s", waited <= job),
    ]


def _wait_for(engine: Engine, rows: TextClause, count: int) -> None:
    """Return once a query has so many rows."""

    def there() -> bool:
        with engine.connect() as store:
            return len(store.execute(rows).all()) >= count

    wait_until(there, 300, "series of the others")


def _multiply(store: Connection) -> None:
    """Queue the job that waits as many times more, each with a name and a turn of its own."""
    columns = ", ".join(f'"{each}"' for each in store.execute(COLUMNS).scalars())
    store.execute(
        text(
            f"INSERT INTO dbos.workflow_status (workflow_uuid, priority, created_at, {columns})"
            " SELECT md5(number::text), priority + :quantum * number, created_at + number,"
            f" {columns} FROM dbos.workflow_status, generate_series(1, :count) AS number"
            " WHERE name = 'segment'"
        ),
        {"count": WAITING - 1, "quantum": QUANTUM},
    )
