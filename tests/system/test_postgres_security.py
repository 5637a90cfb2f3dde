"""PostgreSQL over TLS, passwords in a file, and a role with least rights for each process."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import trustme
from pydicom import dcmread
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from dicom_node.cluster.tables import shared_tables
from dicom_node.errors import StoreUnusable
from dicom_node.jobs.dbos_runtime import queueing_jobs
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from dicom_node.jobs.submit.asked_for import ASKED
from tests.system.cluster import Cluster
from tests.system.database_roles import RIGHTS, ROLES, as_role, make_roles, migrate
from tests.system.postgres import Postgres, needs_postgres
from tests.system.small_series import series
from tests.waiting import wait_until

pytestmark = needs_postgres

TOKEN = "a-long-secret"


@pytest.fixture(scope="module")
def server():
    authority = trustme.CA()
    with Postgres(authority) as server, authority.cert_pem.tempfile() as trusted:
        server.sql("-c", "ALTER ROLE hepar PASSWORD 'of hepar'")
        passwords = Path(trusted).with_suffix(".passwords")
        host = f"127.0.0.1:{server.port}:hepar"
        lines = (f"{host}:{role}:of {role}\n" for role in ("hepar", *ROLES.values()))
        passwords.write_text("".join(lines))
        passwords.chmod(0o600)
        server.url += f"?sslmode=verify-full&sslrootcert={trusted}&passfile={passwords}"
        make_roles(server)
        make_roles(server)  # once more, as after an upgrade
        for role in ROLES.values():
            server.sql("-c", f"ALTER ROLE {role} PASSWORD 'of {role}'")
        yield server
        passwords.unlink()


@pytest.fixture(scope="module")
def cluster(server, tmp_path_factory):
    """A cluster of which each process has the role that is made for it."""
    folder = tmp_path_factory.mktemp("security") / "cluster"
    sections = {"http": {"token": TOKEN}, "cluster": {"deliver_apart": True}}
    with Cluster(folder, server.url, **sections) as cluster:
        cluster.databases = {name: as_role(server.url, role) for name, role in ROLES.items()}
        cluster.start("work")
        cluster.start("deliver")
        yield cluster


@pytest.fixture(scope="module")
def gateway(cluster):
    return cluster.gateway()


@pytest.fixture(scope="module")
def page(cluster):
    return cluster.page()


@pytest.fixture(scope="module")
def job(cluster, gateway, tmp_path_factory):
    """A job that is done."""
    gateway.send_many(series(tmp_path_factory.mktemp("sent") / "ct"))
    wait_until(lambda: cluster.states() == [State.DONE], what="the job")
    return cluster.jobs()[0]


def connected(url):
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))


def execute(url, statement):
    """Execute a statement, and take it back."""
    engine = connected(url)
    try:
        with engine.connect() as store:
            store.execute(text(statement))
            store.rollback()
    finally:
        engine.dispose()


def test_every_connection_of_a_cluster_is_encrypted(cluster, job, page):
    engine = connected(cluster.url)
    query = text(
        "SELECT usename, ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
        " WHERE usename IS NOT NULL"
    )
    with engine.connect() as store:
        found = set(store.execute(query).all())
    engine.dispose()
    assert found == {(role, True) for role in ("hepar", *ROLES.values())}


@pytest.mark.parametrize(
    "change",
    [
        ("sslmode=verify-full", "sslmode=disable"),
        ("sslrootcert=", "sslrootcert=/etc/ssl/certs/ca-certificates.crt&application_name="),
        ("passfile=", "passfile=/nowhere"),
    ],
    ids=["without TLS", "another authority", "without the password"],
)
def test_who_does_not_keep_to_it_is_refused_in_one_sentence(server, change):
    with pytest.raises(StoreUnusable, match="cannot be used") as raised:  # noqa: SIM117
        with open_ledger(server.url.replace(*change)) as ledger:
            ledger.jobs()
    assert "of hepar" not in str(raised.value)


def test_the_page_shows_jobs_and_processes_and_drains_them(cluster, job, page):
    login = "hepar", TOKEN
    shown = httpx.get(page, auth=login).text
    assert job.id in shown
    assert shown.count("Take work again") == 0
    assert httpx.get(f"{page}/healthz").status_code == 200
    (name,) = [each["name"] for each in cluster.drain() if each["role"] == "work"]
    assert httpx.post(f"{page}/processes/{name}/drain", auth=login).status_code == 303
    wait_until(lambda: "drained" in httpx.get(page, auth=login).text)
    assert httpx.post(f"{page}/processes/{name}/undo", auth=login).status_code == 303


def test_a_button_that_would_change_a_job_says_that_the_role_may_not(job, page):
    answer = httpx.post(f"{page}/jobs/{job.id}/redo", auth=("hepar", TOKEN))
    assert answer.status_code == 403
    assert "may not change jobs" in answer.text


def test_workers_do_again_what_a_person_asks_a_gateway_for(cluster, gateway, job):
    replace(gateway, calling_ae_title=ASKED).send_many(job.paths)
    wait_until(lambda: ended_after(cluster, job), what="the second run")
    assert cluster.lines("workers are to do it again") == 1
    assert cluster.lines("a person asked for it: done again") == 1


def ended_after(cluster, job):
    """Return whether a job was done once more."""
    (now,) = [each for each in cluster.jobs() if each.id == job.id]
    return now.state is State.DONE and now.finished > job.finished


def test_a_gateway_cancels_a_job_that_waits_once_its_series_comes_again_changed(
    cluster, gateway, tmp_path
):
    sent = series(tmp_path / "ct")
    (worker,) = [each["name"] for each in cluster.drain() if each["role"] == "work"]
    cluster.drain(worker, "--wait", "60")
    gateway.send_many(sent)
    wait_until(lambda: cluster.states()[-1:] == [State.WAITING], what="the first job")
    for path in sent:
        slice_ = dcmread(path)
        slice_.PatientName = "Changed"
        slice_.save_as(path)
    gateway.send_many(sent)
    wait_until(lambda: cluster.states()[-2:] == [State.SUPERSEDED, State.WAITING])
    wait_until(lambda: status_of(cluster, cluster.jobs()[-2]) == "CANCELLED", 20)
    cluster.drain(worker, "--undo")
    wait_until(lambda: cluster.states()[-2:] == [State.SUPERSEDED, State.DONE])


def status_of(cluster, job):
    """Return the state that DBOS has of a job."""
    engine = connected(cluster.url)
    query = text("SELECT status FROM dbos.workflow_status WHERE workflow_uuid = :job")
    with engine.connect() as store:
        found = store.scalar(query, {"job": job.id})
    engine.dispose()
    return found


STATUS, INPUT = "dbos.workflow_status", "dbos.workflow_input"
OUTPUT, STEPS = "dbos.workflow_output", "dbos.operation_outputs"

INPUTS = f"UPDATE {INPUT} SET inputs = 'other'"

NOBODY_BUT_THE_OWNER = [
    "CREATE TABLE public.one_more (a int)",
    "CREATE TABLE hepar.one_more (a int)",
    f"ALTER TABLE {STATUS} ADD COLUMN one_more int",
    "DROP TABLE hepar.parts",
    "TRUNCATE hepar.members",
    "CREATE SCHEMA one_more",
    "CREATE ROLE one_more",
    "UPDATE dbos.dbos_migrations SET version = 1",
    INPUTS,
]

NOT_BY_GATEWAYS = [
    f"UPDATE {OUTPUT} SET output = 'other'",
    f"INSERT INTO {OUTPUT} (workflow_uuid, output) VALUES ('one more', 'other')",
    f"DELETE FROM {OUTPUT}",
    f"UPDATE {STEPS} SET output = 'other'",
    f"INSERT INTO {STEPS} (workflow_uuid, function_id) VALUES ('one more', 1)",
    f"DELETE FROM {STEPS}",
    f"DELETE FROM {STATUS}",
    f"DELETE FROM {INPUT}",
    f"UPDATE {STATUS} SET executor_id = 'another'",
    f"UPDATE {STATUS} SET name = 'deliver'",
    f"UPDATE {STATUS} SET output = 'other'",
    f"UPDATE {STATUS} SET inputs = 'other'",
    f"INSERT INTO {STATUS} (workflow_uuid, output) VALUES ('one more', 'other')",
    "INSERT INTO dbos.notifications (destination_uuid, message) VALUES ('one more', '')",
    "DELETE FROM dbos.queues",
    "UPDATE dbos.queues SET worker_concurrency = 0",
    "UPDATE hepar.epochs SET committed = 1",
    "DELETE FROM hepar.epochs",
    "SELECT nextval('hepar.epoch_numbers')",
    "DELETE FROM hepar.series_numbers",
]

NOT_BY_DELIVERERS = [
    f"DELETE FROM {OUTPUT}",
    f"UPDATE {STEPS} SET output = 'other'",
    f"DELETE FROM {STEPS}",
    f"INSERT INTO {STATUS} (workflow_uuid) VALUES ('one more')",
    f"DELETE FROM {STATUS}",
    f"UPDATE {STATUS} SET name = 'segment'",
    f"INSERT INTO {INPUT} (workflow_uuid) VALUES ('one more')",
    f"DELETE FROM {INPUT}",
    "UPDATE hepar.epochs SET committed = 1",
    "SELECT nextval('hepar.epoch_numbers')",
    "UPDATE hepar.parts SET again = true",
    "DELETE FROM hepar.holdings",
    "DELETE FROM hepar.series_numbers",
]

NOT_BY_PAGES = [
    *NOT_BY_GATEWAYS,
    *NOT_BY_DELIVERERS,
    f"UPDATE {STATUS} SET status = 'CANCELLED'",
    f"UPDATE {STATUS} SET attributes = NULL",
    "UPDATE hepar.addresses SET url = 'another'",
]

NOT_BY_WORKERS = ["UPDATE hepar.parts SET again = true", "UPDATE hepar.addresses SET url = ''"]

REFUSED = {
    "hepar_gateway": NOT_BY_GATEWAYS,
    "hepar_worker": NOT_BY_WORKERS,
    "hepar_deliverer": NOT_BY_DELIVERERS,
    "hepar_page": NOT_BY_PAGES,
}


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        (role, statement)
        for role, own in REFUSED.items()
        for statement in dict.fromkeys([*own, *NOBODY_BUT_THE_OWNER])
    ],
)
def test_a_role_may_not(server, role, statement):
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
        execute(as_role(server.url, role), statement)


def test_the_owner_may_execute_what_the_roles_may_not(server):
    """Else a statement could be refused for being wrong."""
    for statement in dict.fromkeys(sum(REFUSED.values(), NOBODY_BUT_THE_OWNER)):
        if not statement.startswith("INSERT"):  # a row that is not whole
            execute(server.url, statement)


def test_no_role_owns_anything_or_is_more_than_a_login(server):
    names = ", ".join(f"'{role}'" for role in ROLES.values())
    engine = connected(server.url)
    with engine.connect() as store:
        mighty = store.execute(
            text(
                f"SELECT rolname FROM pg_roles WHERE rolname IN ({names}) AND"
                " (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)"
            )
        ).all()
        owned = store.execute(
            text(
                "SELECT relname FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner"
                f" WHERE rolname IN ({names})"
            )
        ).all()
    engine.dispose()
    assert (mighty, owned) == ([], [])


@pytest.fixture
def older(server):
    """The server as an older release left it: a table is missing."""
    yield server
    make_roles(server)


REMEDY = "run `hepar migrate` and deploy/postgres/roles.sql as the owner"


@pytest.mark.parametrize("role", ROLES.values())
def test_a_start_without_a_table_or_a_right_names_the_remedy(older, role):
    older.sql("-c", "ALTER TABLE hepar.series_numbers RENAME TO away")
    with pytest.raises(StoreUnusable, match=REMEDY), shared_tables(as_role(older.url, role)):
        pass
    older.sql("-c", "ALTER TABLE hepar.away RENAME TO series_numbers")
    older.sql("-c", f"REVOKE ALL ON SCHEMA hepar FROM {role}")
    with pytest.raises(StoreUnusable, match=REMEDY), shared_tables(as_role(older.url, role)):
        pass
    older.sql("-f", RIGHTS)
    with shared_tables(as_role(older.url, role)):
        pass


def test_a_start_on_tables_of_an_older_dbos_names_the_remedy(older):
    engine = connected(older.url)
    with engine.connect() as store:
        newest = store.scalar(text("SELECT version FROM dbos.dbos_migrations"))
    engine.dispose()
    # Its last migration once more: an index that is there already.
    older.sql("-c", f"UPDATE dbos.dbos_migrations SET version = {newest - 1}")
    url = as_role(older.url, "hepar_gateway")
    with pytest.raises(StoreUnusable, match=REMEDY) as raised, queueing_jobs(url, "folder/me"):
        pass
    assert "of hepar_gateway" not in str(raised.value)
    migrate(older)
    with queueing_jobs(url, "folder/me"):
        pass


def test_a_start_without_a_right_on_dbos_names_the_remedy(older):
    older.sql("-c", "REVOKE INSERT ON dbos.application_versions FROM hepar_gateway")
    url = as_role(older.url, "hepar_gateway")
    with pytest.raises(StoreUnusable, match=REMEDY), queueing_jobs(url, "another/me"):
        pass
