"""A rolling upgrade over a change of steps: two versions at once on Debian's PostgreSQL."""

import json
import os
import signal
import socket

import httpx
import pytest
from typer.testing import CliRunner

from dicom_node.jobs.state import State
from dicom_node.main import build
from tests.system.cluster import DIES, Cluster, SlowThresholds
from tests.system.postgres import needs_postgres
from tests.system.small_series import series
from tests.waiting import wait_until

pytestmark = needs_postgres


@pytest.fixture
def cluster(postgres, tmp_path):
    with Cluster(tmp_path / "cluster", postgres.url) as cluster:
        cluster.dead_s = 15.0  # so that a test need not wait for longer
        yield cluster


def jobs_command(cluster, *arguments):
    environment = {"HEPAR_NODE__DATA": str(cluster.data), "HEPAR_JOBS__DATABASE": cluster.url}
    asked = CliRunner().invoke(build(), ["jobs", *arguments], env=environment)
    assert asked.exit_code == 0, asked.output or asked.exception
    return asked


def require_each_done_once(cluster, count):
    """Return if so many series are done, and each of their objects was delivered once."""
    wait_until(lambda: cluster.states() == [State.DONE] * count)
    assert len(list(cluster.delivered.iterdir())) == 2 * count  # SEG and report of each
    lines = (cluster.folder / "log").read_text().splitlines()
    sent = [line for line in lines if "deliver" in line and "done" in line]
    assert len(sent) == 2 * count, sent


def test_jobs_of_an_older_release_are_done_by_the_next_one_though_workers_are_killed(
    cluster, tmp_path
):
    old = cluster.gateway("0.0.9", steps="1")
    first = cluster.start("work", steps="1", device=SlowThresholds(cluster.folder))
    for number in range(4):
        old.send_many(series(tmp_path / f"ct{number}"))
    wait_until(lambda: list(cluster.folder.glob("in the middle *")), what="the device")
    wait_until(lambda: len(cluster.jobs()) == 4)
    dying = cluster.start("work", steps="2" + DIES)
    wait_until(lambda: cluster.lines("works with model") == 2)
    assert dying.is_alive()  # it leaves to the older worker what that will take
    os.kill(first.pid, signal.SIGKILL)
    dying.join(120)
    assert dying.exitcode == -signal.SIGKILL  # in the middle of a move
    assert sorted(set(cluster.states())) in ([State.WAITING], [State.SEGMENTING, State.WAITING])
    (cluster.folder / "go").touch()
    third = cluster.start("work", steps="2")
    # Series of both gateways, while the older one is still there.
    old.send_many(series(tmp_path / "ct4"))
    new = cluster.gateway(steps="2")
    new.send_many(series(tmp_path / "ct5"))
    require_each_done_once(cluster, 6)
    assert third.is_alive()
    for process in cluster.processes:
        if process not in (first, dying):
            process.terminate()


def test_an_older_worker_that_is_drained_leaves_the_rest_to_a_newer_one(cluster, tmp_path):
    old = cluster.gateway("0.0.9", steps="1")
    cluster.start("work", steps="1", device=SlowThresholds(cluster.folder))
    for number in range(3):
        old.send_many(series(tmp_path / f"ct{number}"))
    wait_until(lambda: list(cluster.folder.glob("in the middle *")), what="the device")
    cluster.start("work", steps="2")
    wait_until(lambda: cluster.lines("works with model") == 2)
    worker = f"work-{socket.gethostname()}-1"
    cluster.drain(worker)
    wait_until(lambda: cluster.states().count(State.DONE) == 2)
    assert State.SEGMENTING in cluster.states()
    (cluster.folder / "go").touch()
    (shown,) = cluster.drain(worker, "--wait", "120")
    assert shown["state"] == "drained"
    require_each_done_once(cluster, 3)
    cluster.stop()


def test_jobs_of_a_newer_release_wait_in_sight_and_a_person_can_give_them_to_older_workers(
    cluster, tmp_path
):
    page = cluster.page()
    cluster.start("work", steps="1")
    wait_until(lambda: cluster.lines("works with model") == 1)
    new = cluster.gateway(steps="2")
    new.send_many(series(tmp_path / "ct1"))
    reason = "1 job and 0 deliveries wait for a worker of steps 2: start one"
    wait_until(lambda: reason in httpx.get(f"{page}/readyz").text)
    assert httpx.get(f"{page}/readyz").status_code == 503
    assert reason in httpx.get(page).text
    assert 'hepar_check{check="steps"} 0.0' in httpx.get(f"{page}/metrics").text
    assert cluster.states() == [State.WAITING]
    assert reason in jobs_command(cluster, "list").stderr
    assert json.loads(jobs_command(cluster, "move", "--json").stdout) == [cluster.jobs()[0].id]
    require_each_done_once(cluster, 1)
    # The next one is taken as soon as a worker of its version is there.
    new.send_many(series(tmp_path / "ct2"))
    wait_until(lambda: State.WAITING in cluster.states())
    cluster.start("work", steps="2")
    require_each_done_once(cluster, 2)
    wait_until(lambda: httpx.get(f"{page}/readyz").status_code == 200)
    cluster.stop()
