"""A peer has exactly one receipt for each series that has no result, or has one in part."""

import pytest
from pydicom import dcmread
from pydicom.uid import BasicTextSRStorage

from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from dicom_node.node.node import running_node
from tests.dicom_node.every_ending import Failing, send_all, write_every_ending
from tests.engine.toy_model import write_toy_model
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def sent(tmp_path_factory):
    """Send one series of every ending; return the jobs and the receipts of each peer, by study."""
    folder = tmp_path_factory.mktemp("receipts")
    every = ["nothing", "not_selected", "refused", "failed"]
    wanted = {"all": every, "refusals": ["refused"], "silent": []}
    settings = Settings(
        node={"data": folder / "data", "port": 0},
        receive={"quiet_s": 0.5, "resend_s": 0, "keep_free_mb": 0},
        engine={"model": write_toy_model(folder / "model")},
        peers={
            name: {"kind": "folder", "folder": folder / name, "receipt": each}
            for name, each in wanted.items()
        },
    )
    series = write_every_ending(folder / "series")
    with (
        running_node(settings, open_device=lambda model, settings: Failing()) as node,
        open_ledger(settings.database_url) as ledger,
    ):
        send_all(StorePeer("node", node.ae_title, *node.address), series)
        wait_until(lambda: len(ledger.jobs()) == len(series))
        wait_until(lambda: all(job.finished for job in ledger.jobs()))
        jobs = {job.study_uid: job for job in ledger.jobs()}
    named = {name: jobs[dcmread(paths[0]).StudyInstanceUID] for name, paths in series.items()}
    return named, {name: receipts_in(folder / name) for name in wanted}


def receipts_in(folder):
    """The texts of the receipts in a folder, by study."""
    texts = {}
    for path in folder.glob("*.dcm"):
        report = dcmread(path)
        if report.SOPClassUID == BasicTextSRStorage:
            text = report.ContentSequence[0].TextValue
            texts.setdefault(report.StudyInstanceUID, []).append(text)
    return texts


@pytest.mark.parametrize("ending", ["refused", "not selected", "nothing found", "failed"])
def test_a_series_without_a_result_has_one_receipt(sent, ending):
    jobs, receipts = sent
    assert jobs[ending].state == ending
    (text,) = receipts["all"][jobs[ending].study_uid]
    assert text.startswith("Hepar: no result for series ")
    assert ending in text
    assert "Doe" not in text


def test_a_series_with_a_result_has_none(sent):
    jobs, receipts = sent
    assert jobs["segmented"].state is State.DONE
    assert len(receipts["all"]) == len(jobs) - 1
    assert jobs["segmented"].study_uid not in receipts["all"]


def test_a_part_without_a_result_has_one_beside_the_result_of_the_other(sent):
    jobs, receipts = sent
    assert jobs["in part"].state is State.DONE
    (text,) = receipts["all"][jobs["in part"].study_uid]
    assert text.startswith("Hepar: no result for a part of series ")
    assert "AcquisitionNumber 2: refused: " in text
    assert "AcquisitionNumber 1" not in text


def test_a_peer_has_the_receipts_that_it_wants(sent):
    jobs, receipts = sent
    assert set(receipts["refusals"]) == {jobs[each].study_uid for each in ("refused", "in part")}
    assert receipts["silent"] == {}
