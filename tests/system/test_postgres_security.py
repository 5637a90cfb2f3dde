"""PostgreSQL over TLS, passwords in a file, and a role for the page that changes no job."""

from pathlib import Path

import httpx
import pytest
import trustme
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from dicom_node.errors import StoreUnusable
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from tests.system.cluster import Cluster
from tests.system.postgres import Postgres, needs_postgres
from tests.system.small_series import series
from tests.waiting import wait_until

pytestmark = needs_postgres

PAGE_ROLE = Path(__file__).resolve().parents[2] / "deploy" / "postgres" / "page.sql"

TOKEN = "a-long-secret"


@pytest.fixture(scope="module")
def server():
    authority = trustme.CA()
    with Postgres(authority) as server, authority.cert_pem.tempfile() as trusted:
        server.sql("-c", "ALTER ROLE hepar PASSWORD 'of the workers'")
        passwords = Path(trusted).with_suffix(".passwords")
        lines = "hepar:of the workers", "hepar_page:of the page"
        host = f"127.0.0.1:{server.port}:hepar"
        passwords.write_text("".join(f"{host}:{each}\n" for each in lines))
        passwords.chmod(0o600)
        server.url += f"?sslmode=verify-full&sslrootcert={trusted}&passfile={passwords}"
        yield server
        passwords.unlink()


@pytest.fixture(scope="module")
def cluster(server, tmp_path_factory):
    """A cluster with a job that is done, and a page with a role of its own."""
    folder = tmp_path_factory.mktemp("security")
    http = {"token": TOKEN}
    with Cluster(folder / "cluster", server.url, http=http) as cluster:
        gateway = cluster.gateway()
        cluster.start("work")
        gateway.send_many(series(folder / "ct"))
        wait_until(lambda: cluster.states() == [State.DONE], what="the job")
        server.sql("-f", PAGE_ROLE)
        server.sql("-f", PAGE_ROLE)  # once more, as after an upgrade
        server.sql("-c", "ALTER ROLE hepar_page PASSWORD 'of the page'")
        yield cluster


@pytest.fixture(scope="module")
def as_page(cluster):
    return cluster.url.replace("//hepar@", "//hepar_page@")


@pytest.fixture(scope="module")
def page(cluster, as_page):
    owners = cluster.settings["jobs"]
    cluster.settings["jobs"] = {"database": as_page}
    try:
        yield cluster.page()
    finally:
        cluster.settings["jobs"] = owners


def connected(url):
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))


def test_every_connection_of_a_cluster_is_encrypted(cluster, page):
    engine = connected(cluster.url)
    query = text(
        "SELECT usename, ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
        " WHERE usename IS NOT NULL"
    )
    with engine.connect() as store:
        found = set(store.execute(query).all())
    engine.dispose()
    assert found == {("hepar", True), ("hepar_page", True)}


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
    assert "of the workers" not in str(raised.value)


def test_the_page_shows_jobs_and_processes_and_drains_them(cluster, page):
    (job,) = cluster.jobs()
    login = "hepar", TOKEN
    shown = httpx.get(page, auth=login).text
    assert job.id in shown
    assert shown.count("Take work again") == 0
    assert httpx.get(f"{page}/healthz").status_code == 200
    (name,) = [each["name"] for each in cluster.drain() if each["role"] == "work"]
    assert httpx.post(f"{page}/processes/{name}/drain", auth=login).status_code == 303
    wait_until(lambda: "drained" in httpx.get(page, auth=login).text)
    assert httpx.post(f"{page}/processes/{name}/undo", auth=login).status_code == 303


def test_a_button_that_would_change_a_job_says_that_the_role_may_not(cluster, page):
    (job,) = cluster.jobs()
    answer = httpx.post(f"{page}/jobs/{job.id}/redo", auth=("hepar", TOKEN))
    assert answer.status_code == 403
    assert "may not change jobs" in answer.text


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE dbos.workflow_status SET inputs = 'other'",
        "UPDATE dbos.workflow_status SET status = 'CANCELLED'",
        "DELETE FROM dbos.workflow_status",
        "INSERT INTO dbos.workflow_status (workflow_uuid) VALUES ('one more')",
        "UPDATE hepar.parts SET again = true",
    ],
)
def test_the_role_of_the_page_writes_no_job(cluster, as_page, statement):
    engine = connected(as_page)
    with pytest.raises(ProgrammingError, match="permission denied"), engine.begin() as store:
        store.execute(text(statement))
    engine.dispose()
