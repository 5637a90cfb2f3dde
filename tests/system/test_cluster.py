"""Gateways, workers and the page as processes on one folder and Debian's PostgreSQL."""

import threading

import httpx
import pytest
from pydicom.uid import generate_uid

from dicom_node.jobs.state import State
from dicom_node.results.phantom import write_series
from engine.phantom import make_phantom
from tests.system.cluster import Cluster
from tests.system.postgres import Postgres, postgres_program
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(
    postgres_program("initdb") is None, reason="needs Debian's postgresql"
)

PHANTOM = make_phantom(shape=(20, 64, 64), spacing_mm=(10, 6, 6), noise_hu=2, tumours=0)


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as postgres:
        yield postgres


@pytest.fixture
def cluster(postgres, tmp_path):
    with Cluster(tmp_path / "cluster", postgres.url) as cluster:
        yield cluster


def series(folder):
    return write_series(PHANTOM, generate_uid(), folder)


def test_series_of_two_gateways_are_each_done_once_by_two_workers(cluster, tmp_path):
    gateways = [cluster.gateway(), cluster.gateway()]
    for _ in range(2):
        cluster.start("work")
    for number in range(4):
        gateways[number % 2].send_many(series(tmp_path / f"ct{number}"))
    wait_until(lambda: cluster.states() == [State.DONE] * 4)
    assert len(list(cluster.delivered.iterdir())) == 8  # SEG and report of each
    cluster.stop()


def test_a_series_sent_to_two_gateways_at_once_is_one_job_that_the_page_shows(cluster, tmp_path):
    page = cluster.page()
    gateways = [cluster.gateway(), cluster.gateway()]
    cluster.start("work")
    sent = series(tmp_path / "ct")
    senders = [
        threading.Thread(target=gateway.send_many, args=(sent[number::2],))
        for number, gateway in enumerate(gateways)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    wait_until(lambda: cluster.states() == [State.DONE])
    (job,) = cluster.jobs()
    assert len(job.paths) == len(sent)
    assert len(list(cluster.delivered.iterdir())) == 2
    assert job.id in httpx.get(page).text
    ready = httpx.get(f"{page}/readyz")
    assert ready.status_code == 200
    assert "listener" not in ready.json()["checks"]  # of another process
    cluster.stop()
