"""Files that hold patients' data belong to the node alone."""

import os
import stat

import pytest

from dicom_node.data_folder import DataFolder
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.spool import Spool
from tests.dicom_node.jobs.running import run_worker


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_spool_results_and_store_are_the_node_s_alone_whatever_the_umask(tmp_path, umask):
    data = DataFolder(tmp_path / "data")
    with data.claimed():
        spool = Spool(data.spool)
        instance = spool.put(SeriesKey("1.1", "1.2"), "1.3", b"instance")
        store = tmp_path / "data" / "jobs.sqlite"
        url = f"sqlite:///{store}"
        with run_worker(None, url):
            files = [instance, *tmp_path.glob("data/jobs.sqlite*")]
            assert {mode(path) for path in files} == {0o600}
        assert {mode(path) for path in (data.spool, data.results)} == {0o700}
