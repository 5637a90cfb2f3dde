"""Each health check fails when the part it checks is broken."""

import threading
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from dicom_node.jobs import store
from dicom_node.jobs.state import Delivery, State
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.series_assembler import SeriesAssembler
from dicom_node.receive.spool import Spool
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.web.health import Health, _queue_moves
from dicom_node.web.view import NodeView, Progress
from engine.errors import DeviceFailed
from tests.dicom_node.web.conftest import PATIENCE_S
from tests.dicom_node.web.test_server import node, settings  # noqa: F401
from tests.waiting import wait_until

NOW = datetime(2026, 5, 1, tzinfo=UTC)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Jobs:
    """A ledger with these jobs."""

    def __init__(self, *jobs):
        self._jobs = list(jobs)

    def jobs(self, last):
        return self._jobs


@pytest.fixture
def view(node, settings):  # noqa: F811
    """A view of a running node in which nothing is broken."""
    return NodeView(
        settings,
        Algorithm("toy", "0.1", "ab" * 32, "cpu"),
        node.address,
        list,
        lambda: True,
        lambda: "cpu",
    )


def failed(view, *jobs):
    health = Health(view, Jobs(*jobs))
    return {finding.check: finding.detail for finding in health.ready() if not finding.ok}


def job(state, age, *deliveries):
    return SimpleNamespace(state=state, created=datetime.now(UTC) - age, deliveries=deliveries)


def delivery(state):
    return Delivery("d", "archive", "q", "seg", state, "", 0, 0.0, "")


def test_nothing_fails_where_nothing_is_broken(view):
    assert failed(view) == {}


def test_a_dead_listener_is_noticed(view):
    assert "listener" in failed(replace(view, dicom=("127.0.0.1", 1)))


def test_a_dead_assembler_is_noticed(view):
    assert "restart the node" in failed(replace(view, assembling=lambda: False))["assembler"]


def test_an_assembler_that_hangs_is_noticed(tmp_path):
    """A series that is never taken holds up all others."""
    hanging, let_go = threading.Event(), threading.Event()

    def take(series):
        hanging.set()
        let_go.wait(PATIENCE_S)

    spool, clock = Spool(tmp_path), Clock()
    assembler = SeriesAssembler(spool, take, quiet_s=0, resend_s=0, clock=clock)
    spool.put(SeriesKey("1.1", "1.2"), "1.3", b"instance")
    assembler.start()
    try:
        assert hanging.wait(PATIENCE_S)
        clock.now = 901.0
        assert assembler.running
        assert assembler.busy_s == 901
        let_go.set()
        wait_until(lambda: assembler.busy_s == 0)
    finally:
        let_go.set()
        assembler.stop()


def test_a_device_that_fails_is_noticed(view):
    def broken():
        raise DeviceFailed("no device can run the model")

    assert failed(replace(view, device=broken)) == {"device": "no device can run the model"}


def test_too_little_room_is_noticed(view):
    receive = view.settings.receive.model_copy(update={"keep_free_mb": 10**9})
    found = failed(replace(view, settings=view.settings.model_copy(update={"receive": receive})))
    assert "1000000000 MB needed" in found["disk"]


def test_a_folder_that_cannot_be_written_is_noticed(view, tmp_path):
    (tmp_path / "spool").write_text("a file in the place of the folder")
    (tmp_path / "results").mkdir()
    moved = view.settings.node.model_copy(update={"data": tmp_path})
    found = failed(replace(view, settings=view.settings.model_copy(update={"node": moved})))
    assert "cannot write" in found["data folder"]
    assert "is gone" in found["job store"]


def test_a_store_that_is_locked_is_noticed(view, tmp_path):
    moved = view.settings.node.model_copy(update={"data": tmp_path})
    broken = replace(view, settings=view.settings.model_copy(update={"node": moved}))
    library = store._sqlite()  # locks of two libraries in one process do not meet
    with library.connect(tmp_path / "jobs.sqlite", isolation_level=None) as other:
        other.execute("CREATE TABLE t (i)")
        other.execute("BEGIN EXCLUSIVE")
        assert "cannot be written" in failed(broken)["job store"]
        other.execute("ROLLBACK")
        assert "job store" not in failed(broken)
    other.close()


def test_a_peer_that_fails_for_too_long_is_named(view):
    late = job(State.DELIVERING, timedelta(hours=2), delivery(State.DELIVERING))
    assert "archive" in failed(view, late)["peers"]
    for fine in (
        job(State.DELIVERING, timedelta(minutes=2), delivery(State.DELIVERING)),
        job(State.DONE, timedelta(hours=2), delivery(State.DONE)),
    ):
        assert "peers" not in failed(view, fine)


def waits(state, created, queue="segment on it", reason=""):
    return SimpleNamespace(id="job", state=state, created=created, queue=queue, reason=reason)


def test_a_job_that_waits_for_a_gateway_is_named_though_others_are_computed():
    away = waits(State.WAITING, NOW - timedelta(hours=1), "postponed on it", "g is away")
    busy = waits(State.SEGMENTING, NOW)
    found = _queue_moves([away, busy], NOW, timedelta(minutes=15))
    assert (found.ok, found.detail) == (False, "job job waits: g is away")
    assert _queue_moves([away, busy], NOW, timedelta(hours=2)).ok


@pytest.mark.parametrize(
    ("minutes", "state", "ok"),
    [(16, State.WAITING, False), (14, State.WAITING, True), (16, State.DONE, True)],
)
def test_a_queue_that_stands_still_is_noticed(minutes, state, ok):
    jobs = [waits(state, NOW - timedelta(minutes=minutes))]
    assert _queue_moves(jobs, NOW, timedelta(minutes=15)).ok is ok


def test_a_job_that_makes_no_progress_is_noticed():
    clock, limit = Clock(), timedelta(minutes=15)
    progress = Progress(clock)
    jobs = [SimpleNamespace(state=State.SEGMENTING, created=NOW - timedelta(hours=3))]

    def found():
        return _queue_moves(jobs, NOW, limit, timedelta(seconds=progress.silent_s))

    clock.now = 3600.0
    assert "no progress for 60 minutes" in found().detail
    assert not found().ok
    with progress.noting(lambda job: nullcontext())("job"):  # it begins
        assert found().ok
        clock.now += 901
        assert not found().ok
        progress("job", 8, 300)
        assert found().ok
    clock.now += 901
    assert _queue_moves([], NOW, limit, timedelta(seconds=progress.silent_s)).ok


def test_a_queue_behind_a_long_job_moves():
    old = NOW - timedelta(hours=1)
    jobs = [
        waits(State.WAITING, old),
        waits(State.SEGMENTING, old),
    ]
    assert _queue_moves(jobs, NOW, timedelta(minutes=15)).ok


def test_a_gateway_that_is_drained_is_alive_and_not_ready_for_the_balancer(view):
    drained = replace(view, closed=lambda: True)
    assert list(failed(drained)) == ["draining"]
    assert all(finding.ok for finding in Health(drained, Jobs()).alive())


def test_a_gateway_is_ready_while_an_archive_takes_no_results(view):
    late = job(State.DELIVERING, timedelta(days=1), delivery(State.DELIVERING))
    assert "peers" in failed(view, late)
    assert failed(replace(view, device=None), late) == {}
