"""`kill -9` at every stage of a series: after a restart it ends as one SEG and one report."""

import pytest
from pydicom import dcmread

from dicom_node.errors import PeerUnavailable
from dicom_node.jobs.state import State
from dicom_node.results.phantom import write_series
from engine.phantom import make_phantom
from tests.dicom_node.node_process import STAGES, NodeProcess, wait_until

SLICES = 20


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Files of a small phantom."""
    made = make_phantom(shape=(SLICES, 64, 64), spacing_mm=(10, 6, 6), noise_hu=2, tumours=0)
    return write_series(made, "killed", tmp_path_factory.mktemp("series"))


@pytest.mark.parametrize("stage", STAGES)
def test_a_series_whose_node_was_killed_ends_as_exactly_one_seg(stage, series, tmp_path):
    resend_s = 20 if stage == "receiving" else 0
    receive = {"quiet_s": 0.5, "resend_s": resend_s, "keep_free_mb": 0}
    node = NodeProcess(tmp_path, kill_at=stage, receive=receive)
    node.start()
    if stage == "receiving":
        with pytest.raises(PeerUnavailable):
            node.peer.send_many(series)
    else:
        node.peer.send_many(series)
    node.process.join(60)
    assert node.process.exitcode == -9

    node.start()
    if stage == "receiving":
        node.peer.send_many(series)  # as a scanner does that was not answered
    wait_until(lambda: [job.state for job in node.jobs()] == [State.DONE])
    node.stop()
    delivered = {each.Modality: each for each in map(dcmread, node.delivered.iterdir())}
    assert set(delivered) == {"SEG", "SR"}
    assert len(list(node.delivered.iterdir())) == 2
    referenced = delivered["SEG"].ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert len(referenced) == SLICES
    assert len(list((node.data / "spool").rglob("*.dcm"))) == SLICES
