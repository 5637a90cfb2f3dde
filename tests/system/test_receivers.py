"""`hepar receive` in two processes on one port, with a worker, on Debian's PostgreSQL."""

import os
import signal
import socket
import subprocess
from contextlib import ExitStack, suppress

import httpx
import psutil
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.errors import PeerUnavailable
from dicom_node.jobs.state import State
from tests.system.cluster import Cluster, answers
from tests.system.gateways import Gateways
from tests.system.postgres import needs_postgres
from tests.system.small_series import series
from tests.waiting import GENEROUS_S, wait_until

pytestmark = needs_postgres

CONTEXT = [(CTImageStorage, ExplicitVRLittleEndian)]

ROLE = f"receive-{socket.gethostname()}"


@pytest.fixture
def cluster(postgres, tmp_path):
    with Cluster(tmp_path / "cluster", postgres.url) as cluster:
        yield cluster


@pytest.fixture
def gateways(cluster):
    with Gateways(cluster.folder, cluster.settings, cluster.url, 2) as gateways:
        yield gateways


def peer(gateways):
    return StorePeer("gateway", "HEPAR", "127.0.0.1", gateways.port, calling_ae_title="CT-1")


def two_at_each(stack, gateways):
    """Open associations until each of the two processes has two; return them by process."""
    found = {each.pid: [] for each in gateways.processes()}
    assert len(found) == 2
    for _ in range(100):
        if all(len(each) == 2 for each in found.values()):
            return found
        one = stack.enter_context(ExitStack())
        association = one.enter_context(peer(gateways).associated(CONTEXT))
        port = association.dul.socket.socket.getsockname()[1]
        (pid,) = (each.pid for each in gateways.processes() if port in gateways.associations(each))
        if len(found[pid]) == 2:
            one.close()
        else:
            found[pid].append(association)
    raise AssertionError("connections all go to one process")


def test_one_series_over_four_associations_is_one_job(cluster, gateways):
    cluster.start("work")
    sent = series(cluster.folder / "ct")
    with ExitStack() as stack:
        one, other = two_at_each(stack, gateways).values()
        for number, path in enumerate(sent):
            sender = (*one, *other)[number % 4]
            assert sender.send_c_store(path).Status == 0x0000
    wait_until(lambda: cluster.states() == [State.DONE])
    (job,) = cluster.jobs()
    assert len(job.paths) == len(sent)
    for number in range(2):  # each has an HTTP port of its own
        assert httpx.get(f"http://127.0.0.1:{gateways.http_port + number}/readyz").is_success
    shown = {each["name"]: each["state"] for each in cluster.drain(ROLE, "--wait", "60")}
    assert shown == {f"{ROLE}-1": "drained", f"{ROLE}-2": "drained"}
    assert not any(answers(peer(gateways)) for _ in range(8))
    cluster.stop()


def test_a_process_that_is_killed_starts_again_and_nothing_that_it_took_is_lost(cluster, gateways):
    cluster.start("work")
    sent = series(cluster.folder / "ct")
    half = len(sent) // 2
    with ExitStack() as stack, suppress(PeerUnavailable):
        (victim, taken), (_, others) = two_at_each(stack, gateways).items()
        for number, path in enumerate(sent[:half]):
            assert (*taken, *others)[number % 4].send_c_store(path).Status == 0x0000
        os.kill(victim, signal.SIGKILL)
        for path in sent[half:-1]:  # the other process goes on
            assert others[0].send_c_store(path).Status == 0x0000
    peer(gateways).send_many(sent[-1:])
    wait_until(lambda: cluster.states() == [State.DONE])
    (job,) = cluster.jobs()
    assert len(job.paths) == len(sent)
    assert "ended with status -9; another one starts in 1 s" in gateways.log.read_text()
    wait_until(lambda: len(gateways.processes()) == 2, what="another process")
    assert victim not in [each.pid for each in gateways.processes()]
    assert {each["name"] for each in cluster.drain() if each["alive"]} >= {f"{ROLE}-1", f"{ROLE}-2"}
    cluster.stop()


def test_processes_end_with_a_parent_that_is_killed(gateways):
    found = gateways.processes()
    gateways.process.kill()
    gateways.process.wait()
    psutil.wait_procs(found, GENEROUS_S)
    assert not any(each.is_running() for each in found), gateways.tail()
    gateways.process = None


def test_a_second_command_takes_no_share_of_the_port(gateways):
    second = subprocess.run(
        gateways.command(), env=gateways.environment, capture_output=True, text=True
    )
    assert second.returncode == 2
    assert f"cannot listen on 127.0.0.1:{gateways.port}: Address already in use" in second.stderr


def test_an_error_at_the_start_ends_the_command_with_it(cluster):
    gateways = Gateways(cluster.folder, cluster.settings, cluster.url, 2)
    with socket.create_server(("127.0.0.1", gateways.http_port)):
        ended = subprocess.run(
            gateways.command(), env=gateways.environment, capture_output=True, text=True
        )
    assert ended.returncode == 2
    assert ended.stderr.count("error: cannot serve HTTP on") == 1
