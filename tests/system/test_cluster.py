"""Gateways, workers and the page as processes on one folder and Debian's PostgreSQL."""

import os
import signal
import socket
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import yaml
from dbos import DBOS
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from sqlalchemy import create_engine, text

from dicom_node.corrections.register import CorrectionRegister
from dicom_node.data_folder import DataFolder
from dicom_node.deliver.sop_reference import read_reference
from dicom_node.jobs.dbos_runtime import queueing_jobs, submit
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.records import SeriesTask
from dicom_node.jobs.state import State
from dicom_node.jobs.steps.series_worker import delivery_tasks
from dicom_node.results.objects import ObjectKind, Profile
from dicom_node.shadow.work_register import ShadowState, WorkRegister
from engine.model import load_model
from tests.dicom_node.corrections.drawn import correct
from tests.engine.toy_model import write_manifest, write_toy_model
from tests.system.cluster import Cluster, SlowThresholds, StoppedBeforeWrite, answers
from tests.system.postgres import needs_postgres
from tests.system.small_series import series
from tests.waiting import wait_until

pytestmark = needs_postgres

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@pytest.fixture
def cluster(postgres, databases, tmp_path):
    with Cluster(tmp_path / "cluster", postgres.url) as cluster:
        cluster.databases = databases
        yield cluster


@pytest.fixture
def slow(cluster):
    """A worker in the middle of a volume, and one that has nothing to do yet."""
    return at_work_beside_another(cluster, SlowThresholds(cluster.folder))


def at_work_beside_another(cluster, device):
    """Start a worker, wait until its device is in the middle, and start another one; return it."""
    cluster.dead_s = 15.0  # so that a test need not wait for longer
    gateway = cluster.gateway()
    process = cluster.start("work", device=device)
    gateway.send_many(series(cluster.folder / "ct"))
    wait_until(lambda: list(cluster.folder.glob("in the middle*")), what="the device")
    cluster.start("work")
    # Before that it could have the name of the first one, once that is dead, and with it its jobs.
    wait_until(lambda: cluster.lines("works with model") == 2, what="the other worker")
    return process


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
    context = CTImageStorage, ExplicitVRLittleEndian
    with gateways[0].associated([context]) as one, gateways[1].associated([context]) as two:
        for number, path in enumerate(sent):
            sender = two if number % 3 else one
            assert sender.send_c_store(path).Status == 0x0000
    wait_until(lambda: cluster.states() == [State.DONE])
    (job,) = cluster.jobs()
    assert len(job.paths) == len(sent)
    assert len(list(cluster.delivered.iterdir())) == 2
    shown = httpx.get(page).text
    assert job.id in shown
    host = socket.gethostname()
    for name in ("web-{}-1", "receive-{}-1", "receive-{}-2", "work-{}-1"):
        assert name.format(host) in shown
    ready = httpx.get(f"{page}/readyz")
    assert ready.status_code == 200
    assert "listener" not in ready.json()["checks"]  # of another process
    cluster.stop()


def test_one_worker_computes_with_the_shadow_and_another_once_that_is_killed(cluster, tmp_path):
    candidate = write_toy_model(cluster.folder / "candidate")
    write_manifest(candidate, name="candidate", version="2")
    cluster.settings["engine"]["shadow"] = candidate
    gateway = cluster.gateway()
    first = cluster.start("work")
    wait_until(lambda: cluster.lines("candidate 2 runs as a shadow") == 1)
    cluster.start("work")
    wait_until(lambda: cluster.lines("works with model") == 2)
    for killed in (first, None):
        count = len(cluster.jobs()) + 1
        gateway.send_many(series(tmp_path / f"ct{count}"))
        _computed_by_shadow(cluster, load_model(candidate).digest, count)
        assert cluster.lines("candidate 2 runs as a shadow") == count
        if killed is not None:
            os.kill(killed.pid, signal.SIGKILL)
    assert len(list(cluster.data.glob("results/*.shadow-*.npz"))) == 2
    # A correction that comes after the shadow has computed: its gateway compares it with both.
    found = [dcmread(path) for path in cluster.delivered.iterdir()]
    correct((gateway.host, gateway.port), next(each for each in found if each.Modality == "SEG"))
    corrections = CorrectionRegister(DataFolder(cluster.data).corrections)
    wait_until(lambda: [len(each.shadows) for each in corrections.all()] == [1])
    checks = httpx.get(f"{cluster.page()}/readyz").text
    assert "candidate 2 on a worker's device" in checks
    cluster.stop(but=first)


def test_a_worker_segments_with_the_faster_model_while_many_series_wait(cluster, tmp_path):
    faster = write_toy_model(cluster.folder / "faster")
    write_manifest(faster, name="fast", version="2")
    cluster.settings["engine"] |= {"backlog_model": faster, "backlog_series": 2}
    gateway, page = cluster.gateway(), cluster.page()
    for number in range(5):
        gateway.send_many(series(tmp_path / f"ct{number}"))
    wait_until(lambda: cluster.states() == [State.WAITING] * 5)
    cluster.start("work")
    wait_until(lambda: cluster.states() == [State.DONE] * 5)
    # As each begins, 4, 3, 2, 1 and 0 others wait.
    assert [job.outcome.model for job in cluster.jobs()] == ["fast 2"] * 3 + ["toy 0.1"] * 2
    found = [dcmread(path) for path in cluster.delivered.iterdir()]
    digests = [each.DeviceSerialNumber for each in found if each.Modality == "SEG"]
    assert digests.count(load_model(faster).digest) == 3
    assert cluster.lines("the backlog begins, model fast 2") == 1
    assert cluster.lines("the backlog is over") == 1
    assert "<dt>Model in a backlog</dt><dd>fast 2</dd>" in httpx.get(page).text
    cluster.stop()


def _computed_by_shadow(cluster, digest, count):
    """Wait until so many series are done, and the shadow has computed each."""
    register = WorkRegister(DataFolder(cluster.data).shadow)
    wait_until(lambda: cluster.states() == [State.DONE] * count)
    computed = [ShadowState.COMPUTED] * count
    wait_until(lambda: [each.state for each in register.of_model(digest)] == computed)


def test_the_job_of_a_worker_that_is_killed_is_ended_by_another_one(cluster, slow):
    slow.kill()
    wait_until(lambda: cluster.states() == [State.DONE], what="the other worker")
    assert len(list(cluster.delivered.iterdir())) == 2
    assert cluster.lines("queued again:") >= 1
    cluster.stop(but=slow)


def test_a_worker_that_was_cut_off_and_comes_back_writes_nothing(cluster, slow):
    os.kill(slow.pid, signal.SIGSTOP)
    wait_until(lambda: cluster.states() == [State.DONE], what="the other worker")
    files = cluster.files()
    (cluster.folder / "go").touch()
    os.kill(slow.pid, signal.SIGCONT)
    wait_until(lambda: cluster.lines("left alone: it is not") >= 1, what="the fence")
    assert cluster.states() == [State.DONE]
    assert cluster.files() == files
    cluster.stop()


def test_what_a_worker_writes_after_its_last_look_is_no_result_and_is_not_delivered(cluster):
    late = at_work_beside_another(cluster, StoppedBeforeWrite(cluster.folder))
    wait_until(lambda: cluster.states() == [State.DONE], what="the other worker")
    (job,) = cluster.jobs()
    made = {path: path.read_bytes() for path in (job.outcome.seg, *job.outcome.files.values())}
    files = cluster.files()
    os.kill(late.pid, signal.SIGCONT)
    wait_until((cluster.folder / "written late").exists, what="the write that was stopped")
    wait_until(lambda: cluster.lines("left alone: it is not") >= 1, what="the fence")
    # Sent again: whatever is on the disk under the names of the job's results.
    profile = Profile((ObjectKind.SEG, ObjectKind.REPORT))
    with open_ledger(cluster.url) as ledger:
        ledger.send(job, delivery_tasks(job.series_uid, job.outcome, {"folder": profile}))
    wait_until(lambda: cluster.states() == [State.DONE], what="the second delivery")
    assert {path: path.read_bytes() for path in made} == made
    sent = {read_reference(path).instance_uid for path in cluster.delivered.iterdir()}
    assert sent == {read_reference(path).instance_uid for path in made}
    assert {path for path in files if path.is_file()} <= cluster.files().keys()
    cluster.stop()


def test_a_job_that_is_done_again_leaves_the_objects_that_it_made_before(cluster, tmp_path):
    gateway = cluster.gateway()
    cluster.start("work")
    gateway.send_many(series(tmp_path / "ct"))
    wait_until(lambda: cluster.states() == [State.DONE])
    (first,) = cluster.jobs()
    before = {path.name: path.read_bytes() for path in cluster.delivered.iterdir()}
    with open_ledger(cluster.url) as ledger:
        assert ledger.redo(first)
    wait_until(lambda: cluster.states() == [State.DONE])
    (second,) = cluster.jobs()
    assert second.outcome.folder != first.outcome.folder
    assert {path.name: path.read_bytes() for path in cluster.delivered.iterdir()} == before
    cluster.stop()


def test_processes_are_replaced_by_those_of_another_version_without_a_pause(cluster, tmp_path):
    cluster.dead_s = 600.0  # a busy machine must not let another worker take the first series
    old = cluster.gateway("0.0.9")
    cluster.start("work", device=SlowThresholds(cluster.folder), release="0.0.9")
    old.send_many(series(tmp_path / "ct1"))
    wait_until(lambda: list(cluster.folder.glob("in the middle *")), what="the device")
    old_gateway, old_worker = (f"{role}-{socket.gethostname()}-1" for role in ("receive", "work"))
    (shown,) = cluster.drain(old_worker)
    assert (shown["state"], shown["version"]) == ("draining", "0.0.9")
    (shown,) = cluster.drain(old_gateway, "--wait", "120")
    assert shown["state"] == "drained"
    assert not answers(old)
    new = cluster.gateway()
    cluster.start("work")
    new.send_many(series(tmp_path / "ct2"))
    wait_until(lambda: State.DONE in cluster.states())
    assert cluster.states() == [State.SEGMENTING, State.DONE]
    assert {each["version"] for each in cluster.drain()} == {"0.0.9", version("hepar")}
    (cluster.folder / "go").touch()
    (shown,) = cluster.drain(old_worker, "--wait", "120")
    assert shown["state"] == "drained"
    wait_until(lambda: cluster.states() == [State.DONE] * 2)
    assert len(list(cluster.delivered.iterdir())) == 4
    # Back to the old version.
    cluster.drain(old_worker, "--undo")
    cluster.drain(old_worker.replace("-1", "-2"), "--wait", "120")
    cluster.drain(old_gateway, "--undo")
    wait_until(lambda: answers(old))
    old.send_many(series(tmp_path / "ct3"))
    wait_until(lambda: cluster.states() == [State.DONE] * 3)
    cluster.stop()


def test_the_query_that_scales_workers_counts_what_waits_and_runs(postgres):
    manifests = yaml.safe_load_all((DEPLOY / "kubernetes" / "scaling.yaml").read_text())
    (scaled,) = (each for each in manifests if each["kind"] == "ScaledObject")
    query = scaled["spec"]["triggers"][0]["metadata"]["query"]
    with (
        queueing_jobs(postgres.url, f"{uuid4()}/receive-1"),
        closing_engine(postgres.url) as engine,
        engine.connect() as connection,
    ):
        before = connection.scalar(text(query))
        for name, options in {"a": {}, "b": {"urgent": True}, "c": {"held": True}}.items():
            submit(f"{name}-{uuid4()}", SeriesTask("1.1", "1.2", ()), **options)
        gone = f"d-{uuid4()}"
        submit(gone, SeriesTask("1.1", "1.2", ()))
        DBOS.cancel_workflow(gone)
        connection.rollback()
        assert connection.scalar(text(query)) == before + 2


@contextmanager
def closing_engine(url):
    engine = create_engine(url)
    yield engine
    engine.dispose()
