"""Gateways and workers with a data folder each, which share Debian's PostgreSQL and no folder."""

import re
from contextlib import ExitStack

import httpx
import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dicom_node.corrections.register import CorrectionRegister
from dicom_node.data_folder import DataFolder
from dicom_node.jobs.state import State
from tests.dicom_node.corrections.drawn import correct
from tests.system.apart import ApartCluster
from tests.system.cluster import SlowThresholds
from tests.system.postgres import needs_postgres
from tests.system.small_series import series
from tests.waiting import wait_until

pytestmark = needs_postgres

CONTEXT = CTImageStorage, ExplicitVRLittleEndian


@pytest.fixture
def cluster(postgres, databases, tmp_path):
    with ApartCluster(tmp_path / "apart", postgres.url) as cluster:
        cluster.databases = databases
        yield cluster


def deal(gateways, sent):
    """Send the instances of a series to both gateways, in turn, on open associations."""
    with ExitStack() as stack:
        open_to = [stack.enter_context(each.associated([CONTEXT])) for each in gateways]
        for number, path in enumerate(sent):
            assert open_to[number % 2].send_c_store(path).Status == 0x0000


def delivered(cluster):
    """Return the objects that were delivered, the SEG first."""
    found = [dcmread(path) for path in cluster.delivered.iterdir()]
    return sorted(found, key=lambda each: each.Modality != "SEG")


def test_a_series_dealt_over_two_gateways_is_one_job_delivered_shown_and_corrected(
    cluster, tmp_path
):
    page = cluster.page()
    gateways = [cluster.gateway(), cluster.gateway()]
    _, *places = cluster.places
    for _ in range(2):
        cluster.start("work")
    sent = series(tmp_path / "ct")
    deal(gateways, sent)
    wait_until(lambda: cluster.states() == [State.DONE])
    (job,) = cluster.jobs()
    assert len(job.paths) == len(sent)
    seg, report = delivered(cluster)
    assert (seg.Modality, report.Modality) == ("SEG", "SR")
    # The results lie at the gateway that made the job, and nowhere else but in caches.
    (home,) = {path.parent.parent for path in cluster.held("results/*.dcm")}
    assert home in places
    shown = httpx.get(f"{page}/jobs/{job.id}", timeout=60).text
    picture = re.search(rf"/jobs/{job.id}/[a-z/0-9]+\.png", shown)
    assert picture, shown
    assert httpx.get(page + picture[0], timeout=60).content.startswith(b"\x89PNG")
    # A correction that comes through the other gateway is compared with the labels of the first.
    other = next(each for each in places if each != home)
    peer = gateways[places.index(other)]
    correct((peer.host, peer.port), seg)
    register = CorrectionRegister(DataFolder(other).corrections)
    wait_until(lambda: [each.job for each in register.all() if not each.reason] == [job.id])
    cluster.stop()


def test_a_job_is_ended_by_another_worker_once_its_own_is_killed_and_waits_for_its_gateway(
    cluster, tmp_path
):
    cluster.dead_s = 15.0  # so that a test need not wait for longer
    gateway = cluster.gateway()
    lost, home = cluster.processes[-1], cluster.places[-1]
    killed = cluster.start("work", device=SlowThresholds(cluster.folder))
    gateway.send_many(series(tmp_path / "ct"))
    wait_until(lambda: list(cluster.folder.glob("in the middle *")), what="the device")
    killed.kill()
    lost.kill()
    cluster.start("work")
    wait_until(lambda: "cannot be reached" in cluster.jobs()[0].reason, what="the reason")
    wait_until(lambda: cluster.lines("action=postpone") > 1, what="another attempt")
    assert list(cluster.folder.glob("shelf/*")) == []
    cluster.gateway(home)
    wait_until(lambda: cluster.states() == [State.DONE], what="the other worker")
    assert [each.Modality for each in delivered(cluster)] == ["SEG", "SR"]
    assert cluster.jobs()[0].reason == ""
    for process in (killed, lost):
        cluster.processes.remove(process)
    cluster.stop()


def test_results_are_fetched_by_a_process_that_delivers(cluster, tmp_path):
    cluster.settings["cluster"] = {**cluster.settings["cluster"], "deliver_apart": True}
    gateway = cluster.gateway()
    cluster.start("work")
    gateway.send_many(series(tmp_path / "ct"))
    wait_until(lambda: cluster.states() == [State.DELIVERING])
    assert list(cluster.folder.glob("shelf/*")) == []
    cluster.start("deliver")
    wait_until(lambda: cluster.states() == [State.DONE])
    assert [each.Modality for each in delivered(cluster)] == ["SEG", "SR"]
    cluster.stop()
