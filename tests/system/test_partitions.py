"""Faults between the machines of a cluster; network namespaces are the machines."""

import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from shutil import which

import pytest

from dicom_node.errors import NodeError
from dicom_node.jobs.state import State
from tests.power_cut.powered import Powered
from tests.power_cut.powered import why_not as why_no_disk
from tests.system.cluster import Cluster, SlowThresholds
from tests.system.hosts import Switch, why_not
from tests.system.postgres import Postgres, needs_postgres
from tests.system.small_series import series
from tests.waiting import wait_until

pytestmark = [needs_postgres, pytest.mark.timeout(400)]

DEAD_S = 10.0
"""Seconds without a heartbeat after which a process counts as dead; 30 in a real cluster."""

CUT_S = 20.0
"""Longer than that."""

AWAY_S = 30.0

SLOW_SYNC_S = 0.3
"""Seconds that a sync takes of a slow disk; an instance takes two."""


@pytest.fixture
def switch():
    if reason := why_not():
        pytest.skip(reason)
    with Switch() as switch:
        yield switch


@pytest.fixture
def server(switch):
    with Postgres(host=switch.host()) as server:
        yield server


@pytest.fixture
def cluster(server, tmp_path):
    with Cluster(tmp_path / "cluster", server.url) as cluster:
        cluster.dead_s = DEAD_S
        # The test itself looks from the server's host.
        cluster.url = server.local_url
        yield cluster


def in_the_middle(cluster):
    return list(cluster.folder.glob("in the middle*"))


def test_a_worker_that_postgresql_cannot_see_is_replaced_and_writes_nothing(cluster, switch):
    gateway = cluster.gateway(host=switch.host())
    host = switch.host()
    cluster.start("work", device=SlowThresholds(cluster.folder), host=host)
    gateway.send_many(series(cluster.folder / "ct"))
    wait_until(lambda: in_the_middle(cluster), what="the device")
    cluster.start("work", host=switch.host())
    wait_until(lambda: cluster.lines("works with model") == 2, what="the other worker")
    with host.cut_off():
        wait_until(lambda: cluster.states() == [State.DONE], what="the other worker's result")
        files = cluster.files()
        (cluster.folder / "go").touch()
    wait_until(lambda: cluster.lines("left alone: it is not") >= 1, what="the fence")
    assert cluster.states() == [State.DONE]
    assert cluster.files() == files
    cluster.stop()


def test_a_gateway_that_postgresql_cannot_see_goes_on_receiving(cluster, switch, tmp_path):
    host = switch.host()
    gateway = cluster.gateway(host=host)
    cluster.start("work", host=switch.host())
    wait_until(lambda: cluster.lines("works with model") == 1, what="the worker")
    with host.cut_off():
        begun = time.monotonic()
        for number in range(2):
            gateway.send_many(series(tmp_path / f"ct{number}"))
            assert cluster.states() == []
        time.sleep(max(0.0, CUT_S - (time.monotonic() - begun)))
    wait_until(lambda: cluster.states() == [State.DONE] * 2)
    assert len(list(cluster.delivered.iterdir())) == 4
    cluster.stop()


def test_half_a_minute_without_postgresql_loses_nothing(cluster, server, switch, tmp_path):
    gateway = cluster.gateway(host=switch.host())
    cluster.start("work", device=SlowThresholds(cluster.folder), host=switch.host())
    gateway.send_many(series(tmp_path / "ct"))
    wait_until(lambda: in_the_middle(cluster), what="the device")
    begun = time.monotonic()
    server.stop()
    (cluster.folder / "go").touch()
    for number in range(2):
        gateway.send_many(series(tmp_path / f"ct{number}"))
    time.sleep(max(0.0, AWAY_S - (time.monotonic() - begun)))
    server.start()
    wait_until(lambda: cluster.states() == [State.DONE] * 3, what="all of them")
    assert len(list(cluster.delivered.iterdir())) == 6
    cluster.stop()


def test_a_cluster_goes_on_with_the_standby_of_a_postgresql_that_vanished(switch, tmp_path):
    with ExitStack() as running:
        host = switch.host()
        primary = running.enter_context(Postgres(host=host))
        standby = running.enter_context(Postgres(host=switch.host(), copy_of=primary))
        hosts = "&".join(f"host={each.address}:{each.port}" for each in (primary, standby))
        url = f"postgresql://hepar@/hepar?{hosts}&target_session_attrs=read-write"
        cluster = running.enter_context(Cluster(tmp_path / "cluster", url))
        cluster.dead_s, cluster.url = DEAD_S, primary.local_url
        gateway = cluster.gateway(host=switch.host())
        cluster.start("work", device=SlowThresholds(cluster.folder), host=switch.host())
        gateway.send_many(series(tmp_path / "ct"))
        wait_until(lambda: in_the_middle(cluster), what="the device")
        # For good: a primary that comes back would be a second one.
        host.cut()
        (cluster.folder / "go").touch()
        gateway.send_many(series(tmp_path / "ct1"))
        standby.promote()
        begun = time.monotonic()
        cluster.url = standby.local_url
        wait_until(lambda: cluster.states() == [State.DONE] * 2, what="both")
        print(f"done {time.monotonic() - begun:.0f} s after the standby was promoted")
        assert len(list(cluster.delivered.iterdir())) == 4
        cluster.stop()


def test_a_shared_folder_without_room_takes_nothing_and_loses_nothing(postgres, tmp_path):
    data = tmp_path / "cluster" / "data"
    with ExitStack() as running:
        cluster = running.enter_context(Cluster(tmp_path / "cluster", postgres.url))
        running.enter_context(small_disk(data))
        gateway = cluster.gateway()
        cluster.start("work", device=SlowThresholds(cluster.folder))
        gateway.send_many(series(tmp_path / "ct"))
        wait_until(lambda: in_the_middle(cluster), what="the device")
        ballast = fill(data)
        (cluster.folder / "go").touch()
        refused = series(tmp_path / "ct1")
        with pytest.raises(NodeError):
            gateway.send_many(refused)
        wait_until(lambda: cluster.lines("no room on the disk; waits") >= 1, what="the worker")
        ballast.unlink()
        gateway.send_many(refused)
        wait_until(lambda: cluster.states() == [State.DONE] * 2, what="both")
        assert len(list(cluster.delivered.iterdir())) == 4
        cluster.stop()


@contextmanager
def small_disk(folder):
    """A disk of 32 MB at a folder, while the block lasts."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", folder], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"needs the right to mount: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder):
    """Leave no room on a disk; return the file that takes it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def test_a_slow_shared_folder_delays_and_loses_nothing(postgres, tmp_path):
    if reason := why_no_disk():
        pytest.skip(reason)
    with (
        Cluster(tmp_path / "cluster", postgres.url) as cluster,
        Powered(cluster.data) as disk,
    ):
        cluster.dead_s = DEAD_S
        gateways = [cluster.gateway(), cluster.gateway()]
        for _ in range(2):
            cluster.start("work")
        wait_until(lambda: cluster.lines("works with model") == 2, what="both workers")
        disk.slow_down(SLOW_SYNC_S)
        for number, gateway in enumerate(gateways):
            gateway.send_many(series(tmp_path / f"ct{number}"))
        wait_until(lambda: cluster.states() == [State.DONE] * 2)
        disk.slow_down(0.0)
        assert len(list(cluster.delivered.iterdir())) == 4
        assert cluster.lines("queued again:") == 0
        cluster.stop()


@pytest.mark.skipif(which("cc") is None, reason="needs a C compiler for the clock")
def test_processes_whose_clocks_are_five_minutes_apart_do_each_series_once(postgres, tmp_path):
    # By its own clock the worker that is behind would wait five minutes for the study to be quiet.
    choice = {"best_of_study": True, "study_wait_s": 1.0}
    with Cluster(tmp_path / "cluster", postgres.url, select=choice) as cluster:
        cluster.dead_s = DEAD_S
        gateway = cluster.gateway()
        behind = cluster.start("work", ahead_s=-300, device=SlowThresholds(cluster.folder))
        gateway.send_many(series(tmp_path / "ct"))
        wait_until(lambda: in_the_middle(cluster), what="the device")
        cluster.start("work", ahead_s=300)
        wait_until(lambda: cluster.lines("works with model") == 2, what="the other worker")
        time.sleep(DEAD_S + 10)  # the other one has looked at all heartbeats
        assert cluster.lines("queued again:") == 0
        gateway.send_many(series(tmp_path / "ct1"))
        wait_until(lambda: State.DONE in cluster.states(), what="the other worker's series")
        behind.kill()
        (cluster.folder / "go").touch()
        wait_until(
            lambda: cluster.states() == [State.DONE] * 2, what="the series of the one killed"
        )
        assert len(list(cluster.delivered.iterdir())) == 4
        cluster.stop(but=behind)
