"""In a real archive every series has exactly one visible answer, however often it is sent."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import BasicTextSRStorage, SegmentationStorage

from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.jobs.ledger import open_ledger
from dicom_node.node.node import running_node
from tests.dicom_node.every_ending import Failing, send_all, write_every_ending
from tests.engine.toy_model import write_toy_model
from tests.system.servers import Orthanc, free_port
from tests.waiting import wait_until

ANSWERS = {
    "segmented": {SegmentationStorage: 1},
    "nothing found": {BasicTextSRStorage: 1},
    "not selected": {BasicTextSRStorage: 1},
    "refused": {BasicTextSRStorage: 1},
    "failed": {BasicTextSRStorage: 1},
    "in part": {SegmentationStorage: 1, BasicTextSRStorage: 1},
}
"""Objects that the archive has of each series in the end."""


def test_receipts_are_as_many_as_series_and_none_is_there_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    series = write_every_ending(tmp_path / "series")
    archive = Orthanc(tmp_path / "archive")
    archive.know(hepar=("HEPAR", free_port()))  # or it lets nobody query it
    with archive:
        settings = settings_for(archive, tmp_path)
        with (
            running_node(settings, open_device=lambda model, settings: Failing()) as node,
            open_ledger(settings.database_url) as ledger,
        ):
            peer = StorePeer("node", node.ae_title, *node.address)
            send_all(peer, series)
            wait_until(lambda: len(ledger.jobs()) == len(series), what="a job for each")
            wait_until(lambda: all(job.finished for job in ledger.jobs()), 240, "their ends")
            send_all(peer, series)
            wait_until(lambda: known(caplog) == len(series), what="all known")
            assert all(job.finished for job in ledger.jobs())
        for name, paths in series.items():
            assert objects_in(archive, dcmread(paths[0]).StudyInstanceUID) == ANSWERS[name], name


def settings_for(archive: Orthanc, folder: Path) -> Settings:
    peer: dict[str, Any] = {
        "kind": "store",
        "ae_title": "ORTHANC",
        "host": "127.0.0.1",
        "port": archive.dicom_port,
        "confirm": "find",
        "receipt": ["nothing", "not_selected", "refused", "failed"],
    }
    return Settings(
        node={"data": folder / "data", "port": 0},
        receive={"quiet_s": 0.5, "resend_s": 0, "keep_free_mb": 0},
        engine={"model": write_toy_model(folder / "model")},
        jobs={"first_pause_s": 0.2, "longest_pause_s": 1.0},
        peers={"archive": peer},
    )


def known(caplog: pytest.LogCaptureFixture) -> int:
    """The number of series of which the node says that it has done them."""
    messages = [record.getMessage() for record in list(caplog.records)]
    return sum(message.startswith("known, ") for message in messages)


def objects_in(archive: Orthanc, study: str) -> Counter[str]:
    """The SOP classes in a study of the archive, and how many objects of each."""
    found: Counter[str] = Counter()
    for instance in archive.get("instances?expand"):
        tags = archive.get(f"instances/{instance['ID']}/simplified-tags")
        if tags["StudyInstanceUID"] == study:
            found[tags["SOPClassUID"]] += 1
    return found
