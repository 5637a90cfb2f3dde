"""A node that asks a real archive closes a series at its count, whatever association stays open."""

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dicom_node.node.receiving
from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.net.commitments import Commitments
from dicom_node.node.peers import to_peer
from dicom_node.node.receiving import receiving
from dicom_node.receive.series_assembler import ReceivedSeries
from dicom_node.receive.spool import Spool
from tests.conftest import make_ct_series
from tests.system.servers import Orthanc, free_port
from tests.waiting import GENEROUS_S


class Submitter:
    """Keeps what is handed over in place of making jobs of it."""

    def __init__(self) -> None:
        self.handed: queue.Queue[ReceivedSeries] = queue.Queue()

    def submit(self, series: ReceivedSeries) -> None:
        self.handed.put(series)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An Orthanc that lets the node query it."""
    orthanc = Orthanc(tmp_path_factory.mktemp("archive"))
    orthanc.know(hepar=("HEPAR", free_port()))
    with orthanc:
        yield orthanc


def table(archive: Orthanc, kind: str) -> dict[str, Any]:
    if kind == "stow":
        return {"kind": "stow", "url": archive.dicomweb}
    port = archive.dicom_port
    return {"kind": "store", "ae_title": "ORTHANC", "host": "127.0.0.1", "port": port}


@pytest.mark.parametrize("kind", ["store", "stow"])
def test_a_series_is_closed_at_the_count_of_the_archive_while_the_sender_stays(
    archive: Orthanc, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitter, instances = Submitter(), make_ct_series(slices=5)
    monkeypatch.setattr(dicom_node.node.receiving, "SeriesSubmitter", lambda *_, **__: submitter)
    settings = Settings(
        node={"data": tmp_path, "port": 0},
        receive={"quiet_s": 3600, "resend_s": 0, "keep_free_mb": 0, "ask_after_s": 0.1}
        | {"ask": "archive"},
        peers={"archive": table(archive, kind)},
    )
    asked = to_peer("archive", settings.peers["archive"], "HEPAR", Commitments())
    context = (instances[0].SOPClassUID, instances[0].file_meta.TransferSyntaxUID)
    to_archive = StorePeer("archive", "ORTHANC", "127.0.0.1", archive.dicom_port)
    with receiving(Spool(tmp_path / "spool"), "", settings, asked=asked) as reception:
        router = StorePeer("node", "HEPAR", *reception.address)
        with router.associated([context]) as association:
            with to_archive.associated([context]) as storing:
                for instance in instances:
                    assert storing.send_c_store(instance).Status == 0x0000
            for instance in instances[:-1]:
                assert association.send_c_store(instance).Status == 0x0000
            with pytest.raises(queue.Empty):  # the archive has one more
                submitter.handed.get(timeout=1.0)
            assert association.send_c_store(instances[-1]).Status == 0x0000
            series = submitter.handed.get(timeout=GENEROUS_S)
            assert association.is_established
    assert series.series_uid == instances[0].SeriesInstanceUID
    assert len(series.paths) == 5
    assert submitter.handed.empty()
