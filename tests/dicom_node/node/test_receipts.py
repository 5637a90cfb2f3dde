"""A peer that wants receipts has exactly one for each series without a result."""

import pytest
from pydicom import dcmread
from pydicom.uid import BasicTextSRStorage, generate_uid

from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from dicom_node.node.node import running_node
from dicom_node.results.phantom import write_series
from engine.phantom import make_phantom
from tests.dicom_node.node_process import Thresholds, wait_until
from tests.engine.toy_model import write_toy_model


class Failing(Thresholds):
    """A device that fails on a series of one size."""

    def run(self, hu, spacing_mm):
        if hu.shape[1] == 40:
            raise ValueError("Doe^Jane")
        return super().run(hu, spacing_mm)


@pytest.fixture
def sent(tmp_path):
    """Send one series of every ending; return the jobs and what lies in the folder."""
    every = ["nothing", "not_selected", "refused", "failed"]
    settings = Settings(
        node={"data": tmp_path / "data", "port": 0},
        receive={"quiet_s": 0.5, "resend_s": 0, "keep_free_mb": 0},
        engine={"model": write_toy_model(tmp_path / "model")},
        peers={
            "told": {"kind": "folder", "folder": tmp_path / "told", "receipt": every},
            "silent": {"kind": "folder", "folder": tmp_path / "silent"},
        },
    )

    def series(name, side=64, slices=20):
        made = make_phantom(
            shape=(slices, side, side),
            spacing_mm=(200 / slices, 384 / side, 384 / side),
            noise_hu=2,
            tumours=0,
        )
        if name == "air":
            made.volume.hu[:] = -1000
        return write_series(made, generate_uid(), tmp_path / name)

    scout = series("scout")
    for path in scout:
        instance = dcmread(path)
        instance.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        instance.save_as(path)
    whole, gap = series("whole"), series("gap")
    del gap[9]
    with (
        running_node(settings, open_device=lambda model, settings: Failing()) as node,
        open_ledger(settings.database_url) as ledger,
    ):
        peer = StorePeer("node", node.ae_title, *node.address)
        for paths in (whole, gap, scout, series("air"), series("failing", side=40)):
            peer.send_many(paths)
        wait_until(lambda: len(ledger.jobs()) == 5)
        wait_until(lambda: all(job.finished for job in ledger.jobs()))
        yield ledger.jobs(), tmp_path


def test_every_series_without_a_result_has_one_receipt(sent):
    jobs, folder = sent
    endings = {job.state: job for job in jobs}
    assert State.DONE in endings
    without = [job for job in jobs if job.state is not State.DONE]
    receipts = [dcmread(path) for path in (folder / "told").glob("*.dcm")]
    receipts = [each for each in receipts if each.SOPClassUID == BasicTextSRStorage]
    assert len(receipts) == len(without) == 4
    by_study = {each.StudyInstanceUID: each for each in receipts}
    assert set(by_study) == {job.study_uid for job in without}
    for job in without:
        text = by_study[job.study_uid].ContentSequence[0].TextValue
        assert text.startswith("Hepar: no result for series ")
        assert job.state in text
        assert "Doe" not in text
    assert not [
        path
        for path in (folder / "silent").glob("*.dcm")
        if dcmread(path).SOPClassUID == BasicTextSRStorage
    ]
