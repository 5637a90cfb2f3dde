"""What a receiver hands over, and when."""

import threading
from io import BytesIO

import pytest
from pydicom import dcmwrite
from pydicom.uid import CTImageStorage, SegmentationStorage

import dicom_node.node.receiving
from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.jobs.submit.correction_intake import CorrectionIntake
from dicom_node.node.receiving import receiving
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.scp import Limits
from dicom_node.receive.spool import Spool
from tests.conftest import make_ct_series
from tests.dicom_node.retrieve.archives import DicomArchive, WebArchive
from tests.waiting import GENEROUS_S, wait_until


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
    monkeypatch.setattr(dicom_node.node.receiving, "SeriesSubmitter", lambda *_, **__: submitter)
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


def test_one_host_has_three_quarters_of_the_places_and_peers_have_their_own(tmp_path, monkeypatch):
    limits, listen = [], dicom_node.node.receiving.listen

    def listening(*arguments):
        limits.extend(each for each in arguments if isinstance(each, Limits))
        return listen(*arguments)

    monkeypatch.setattr(dicom_node.node.receiving, "listen", listening)
    settings = Settings(
        node={"data": tmp_path, "port": 0},
        receive={"max_associations": 8},
        peers={"pacs": {"kind": "store", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}},
    )
    with receiving(Spool(tmp_path / "spool"), "", settings):
        (found,) = limits
    assert (found.associations, found.per_host, found.known) == (8, 6, {"PACS"})


def received(spool, instances, sop_class=CTImageStorage):
    """Let a spool hold instances that a node before this one received."""
    for instance in instances:
        instance.SOPClassUID = instance.file_meta.MediaStorageSOPClassUID = sop_class
        file = BytesIO()
        dcmwrite(file, instance, enforce_file_format=True)
        key = SeriesKey(str(instance.StudyInstanceUID), str(instance.SeriesInstanceUID))
        spool.put(key, str(instance.SOPInstanceUID), file.getvalue())
    return key


def test_no_series_waits_until_200_corrections_are_compared(tmp_path, monkeypatch):
    spool, submitter = Spool(tmp_path / "spool"), Submitter()
    monkeypatch.setattr(dicom_node.node.receiving, "SeriesSubmitter", lambda *_, **__: submitter)
    begun, go_on, compared = threading.Event(), threading.Event(), []

    def take(intake, paths):
        begun.set()
        assert go_on.wait(GENEROUS_S)
        compared.extend(paths)

    monkeypatch.setattr(CorrectionIntake, "take", take)
    settings = Settings(
        node={"data": tmp_path, "port": 0},
        receive={"quiet_s": 0.05, "resend_s": 0, "keep_free_mb": 0},
    )
    corrections = received(spool, make_ct_series(200, rows=2, columns=2), SegmentationStorage)
    with receiving(spool, "", settings) as reception:
        try:
            assert begun.wait(GENEROUS_S)
            images = received(spool, make_ct_series(3))
            reception.expect(images.series_uid, 3)
            reception.assembler.recover()
            assert submitter.news.wait(GENEROUS_S)
            assert [each.series_uid for each in submitter.handed] == [images.series_uid]
            assert compared == []
        finally:
            go_on.set()
    # It ended soon after the first. The others are compared by the next node, each once.
    with receiving(spool, "", settings):
        wait_until(lambda: spool.paths(corrections) == ())
    assert len(compared) == len(set(compared)) == 200
