"""Wait of an urgent series behind 10,000 others: `python -m tests.benchmarks.bench backlog`.

Two workers of a cluster compute. The others are rows of the job store, copies of one that waits.
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, text

from dicom_node.deliver.c_store_scu import StorePeer
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
    " AND is_generated = 'NEVER' AND column_name <> 'workflow_uuid'"
)

URGENT = text(
    "SELECT (started_at_epoch_ms - created_at) / 1000.0, (completed_at - created_at) / 1000.0"
    " FROM dbos.workflow_status"
    " WHERE name = 'segment' AND status = 'SUCCESS' AND queue_name LIKE 'urgent%'"
)

OTHERS = text(
    "SELECT avg(completed_at - started_at_epoch_ms) / 1000.0 FROM dbos.workflow_status"
    " WHERE name = 'segment' AND status = 'SUCCESS' AND queue_name NOT LIKE 'urgent%'"
)


def measure(folder: Path) -> list[Mark]:
    """Let series of one caller wait, and send urgent ones of another."""
    if postgres_program("initdb") is None:
        return [Mark("backlog", "", "needs Debian's postgresql", None)]
    with (
        Postgres() as server,
        Cluster(folder / "backlog", server.url, urgent=RULES) as cluster,
    ):
        cluster.dead_s = 600.0
        gateway = cluster.gateway()
        emergency = StorePeer(
            "gateway", "HEPAR", "127.0.0.1", gateway.port, calling_ae_title="STAT"
        )
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
            _wait_for(engine, number + 1)
        with engine.connect() as store:
            started, ended = zip(*store.execute(URGENT), strict=True)
            job = store.execute(OTHERS).scalar_one()
        engine.dispose()
    worst = max(map(float, started))
    promised = f"one job's time ({job:.1f} s) or less"
    measured = f"{worst:.1f} s at most of {ROUNDS}; done after {max(map(float, ended)):.1f} s"
    name = f"an urgent series behind {WAITING} others: until it begins"
    return [Mark(name, promised, measured, worst <= job)]


def _wait_for(engine: Engine, urgent: int) -> None:
    """Return once so many urgent series are segmented."""

    def there() -> bool:
        with engine.connect() as store:
            return len(store.execute(URGENT).all()) >= urgent

    wait_until(there, 300, "the urgent series")


def _multiply(store: Connection) -> None:
    """Queue the job that waits as many times more, each under a name of its own."""
    columns = ", ".join(f'"{each}"' for each in store.execute(COLUMNS).scalars())
    store.execute(
        text(
            f"INSERT INTO dbos.workflow_status (workflow_uuid, {columns})"
            f" SELECT md5(number::text), {columns} FROM dbos.workflow_status,"
            " generate_series(1, :count) AS number WHERE name = 'segment'"
        ),
        {"count": WAITING - 1},
    )
