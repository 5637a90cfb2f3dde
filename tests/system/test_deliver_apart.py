"""Deliveries of a cluster in processes apart from its workers (`cluster.deliver_apart`)."""

import socket

import httpx
import pytest
from pydicom.uid import SegmentationStorage
from pynetdicom import AE, evt
from sqlalchemy import create_engine, text

from dicom_node.jobs.state import State
from dicom_node.jobs.store import connectable
from tests.system.cluster import Cluster
from tests.system.postgres import needs_postgres
from tests.system.servers import free_port
from tests.system.small_series import series
from tests.waiting import wait_until

pytestmark = needs_postgres


@pytest.fixture
def cluster(postgres, databases, tmp_path):
    with Cluster(tmp_path / "cluster", postgres.url) as cluster:
        cluster.databases = databases
        yield cluster


def test_deliveries_apart_wait_for_their_process_or_for_one_in_its_place(cluster, tmp_path):
    cluster.dead_s = 15.0  # so that a test need not wait for longer
    cluster.settings["cluster"] = {"deliver_apart": True}
    gateway = cluster.gateway()
    cluster.start("work")
    gateway.send_many(series(tmp_path / "ct1"))
    wait_until(lambda: cluster.states() == [State.DELIVERING])
    wait_until(lambda: cluster.lines("works with model") == 1)
    assert not cluster.delivered.exists()
    first = cluster.start("deliver")
    wait_until(lambda: cluster.states() == [State.DONE])
    assert len(list(cluster.delivered.iterdir())) == 2
    (job,) = cluster.jobs()
    at_work = {_executor(cluster, each.id) for each in job.deliveries}
    assert at_work == {f"deliver-{socket.gethostname()}-1"}
    first.kill()
    gateway.send_many(series(tmp_path / "ct2"))
    cluster.start("deliver")
    wait_until(lambda: cluster.states() == [State.DONE] * 2)
    assert len(list(cluster.delivered.iterdir())) == 4
    cluster.stop(but=first)


def test_deliveries_of_a_worker_go_to_processes_apart_that_take_over_from_each_other(
    cluster, tmp_path
):
    cluster.dead_s = 15.0  # so that a test need not wait for longer
    archive = {"kind": "store", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": free_port()}
    cluster.settings["peers"] = {"archive": archive}
    cluster.settings["jobs"] |= {"first_pause_s": 0.5, "longest_pause_s": 0.5}
    gateway = cluster.gateway()
    worker = cluster.start("work")
    gateway.send_many(series(tmp_path / "ct"))
    wait_until(lambda: cluster.lines("not delivered yet") >= 1, what="an attempt")
    worker.terminate()
    worker.join()
    cluster.processes.remove(worker)
    cluster.settings["cluster"] = {"deliver_apart": True}
    worker = cluster.start("work")
    wait_until(lambda: cluster.lines("works with model") == 2, what="the worker")
    (job,) = cluster.jobs()
    (delivery,) = (each.id for each in job.deliveries)
    processes = {f"deliver-{socket.gethostname()}-{number}": None for number in (1, 2)}
    for number, name in enumerate(processes, 1):
        processes[name] = cluster.start("deliver")
        wait_until(lambda number=number: cluster.lines("delivers to") == number)
    wait_until(lambda: _executor(cluster, delivery).startswith("deliver"), what="an attempt")
    # Without a worker nobody else looks after the dead.
    worker.terminate()
    worker.join()
    cluster.processes.remove(worker)
    lost = _executor(cluster, delivery)
    processes[lost].kill()
    cluster.processes.remove(processes[lost])
    entity = AE("ARCHIVE")
    entity.add_supported_context(SegmentationStorage)
    entity.start_server(
        ("127.0.0.1", archive["port"]),
        block=False,
        evt_handlers=[(evt.EVT_C_STORE, lambda event: 0x0000)],
    )
    wait_until(lambda: cluster.states() == [State.DONE])
    entity.shutdown()
    assert _executor(cluster, delivery) != lost
    cluster.stop()


def _executor(cluster, workflow):
    """Return the process of the cluster that had a workflow last."""
    asked = text("SELECT executor_id FROM dbos.workflow_status WHERE workflow_uuid = :workflow")
    engine = create_engine(connectable(cluster.url))
    with engine.connect() as connection:
        found = connection.scalar(asked, {"workflow": workflow})
    engine.dispose()
    return found.partition("/")[2]


def test_a_process_that_delivers_is_drained(cluster, tmp_path):
    cluster.settings["cluster"] = {"deliver_apart": True}
    gateway = cluster.gateway()
    cluster.start("work")
    cluster.start("deliver")
    wait_until(lambda: cluster.lines("delivers to") == 1)
    name = f"deliver-{socket.gethostname()}-1"
    assert name in httpx.get(cluster.page()).text
    (shown,) = cluster.drain(name, "--wait", "120")
    assert shown["state"] == "drained"
    gateway.send_many(series(tmp_path / "ct"))
    wait_until(lambda: cluster.states() == [State.DELIVERING])
    cluster.drain(name, "--undo")
    wait_until(lambda: cluster.states() == [State.DONE])
    cluster.stop()
