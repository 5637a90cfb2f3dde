"""A receiver that asks an archive how many instances a series has."""

import threading

import pytest

import dicom_node.node.receiving
from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.node.receiving import receiving
from dicom_node.receive.spool import Spool
from tests.conftest import make_ct_series
from tests.dicom_node.retrieve.archives import DicomArchive, WebArchive


class Submitter:
    """Keeps what is handed over in place of making jobs of it."""

    def __init__(self, *_):
        self.handed, self.news = [], threading.Event()

    def submit(self, series):
        self.handed.append(series)
        self.news.set()


@pytest.mark.parametrize("kind", [DicomArchive, WebArchive])
def test_a_router_that_stays_associated_does_not_delay_its_series(kind, tmp_path, monkeypatch):
    instances = make_ct_series(slices=3)
    submitter, archive = Submitter(), kind(instances)
    monkeypatch.setattr(dicom_node.node.receiving, "SeriesSubmitter", lambda *_: submitter)
    settings = Settings(
        node={"data": tmp_path, "port": 0},
        receive={"quiet_s": 3600, "resend_s": 0, "keep_free_mb": 0, "ask_after_s": 0.1},
    )
    try:
        with receiving(Spool(tmp_path / "spool"), "", settings, asked=archive.peer) as reception:
            router = StorePeer("node", "HEPAR", *reception.address)
            context = (instances[0].SOPClassUID, instances[0].file_meta.TransferSyntaxUID)
            with router.associated([context]) as association:
                for instance in instances:
                    assert association.send_c_store(instance).Status == 0x0000
                assert submitter.news.wait(60)
                assert [len(series.paths) for series in submitter.handed] == [3]
    finally:
        archive.stop()
