"""`kill -9` at every stage of a series: after a restart it ends as one SEG and one report.

So it does at every stage of a shadow model's work on it. A correction that kills the node each time
it is compared is given up.
"""

import re

import pytest
from pydicom import dcmread

from dicom_node.corrections.register import CorrectionRegister
from dicom_node.errors import PeerUnavailable
from dicom_node.jobs.state import State
from dicom_node.jobs.submit.correction_queue import DEATHS
from dicom_node.results.phantom import write_series
from dicom_node.shadow.work_register import ShadowState, WorkRegister
from engine.phantom import make_phantom
from tests.dicom_node.corrections.drawn import correct
from tests.dicom_node.node_process import (
    COMPARING,
    SHADOW_STAGES,
    STAGES,
    NodeProcess,
    deaths_at,
    wait_until,
)
from tests.engine.toy_model import write_manifest, write_toy_model

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


@pytest.mark.parametrize("stage", SHADOW_STAGES)
def test_the_work_of_a_shadow_model_goes_on_after_a_kill(stage, series, tmp_path):
    candidate = write_toy_model(tmp_path / "candidate")
    write_manifest(candidate, name="candidate")
    node = NodeProcess(tmp_path, kill_at=stage, engine={"shadow": candidate})
    node.start()
    node.peer.send_many(series)
    node.process.join(60)
    assert node.process.exitcode == -9
    node.start()

    def computed():
        register = WorkRegister(node.data / "shadow.sqlite")
        return [[each.state for each in register.of(job.id)] for job in node.jobs()]

    wait_until(lambda: computed() == [[ShadowState.COMPUTED]], what="the shadow")
    wait_until(lambda: [job.state for job in node.jobs()] == [State.DONE])
    node.stop()
    assert len(list((node.data / "results").glob("*.shadow-*.npz"))) == 1
    assert len(list(node.delivered.iterdir())) == 2


def test_a_correction_that_kills_the_node_each_time_is_given_up_and_its_file_stays(
    series, tmp_path
):
    node = NodeProcess(tmp_path, kill_at=COMPARING)
    node.start()
    node.peer.send_many(series)
    wait_until(lambda: [job.state for job in node.jobs()] == [State.DONE])
    seg = next(each for each in map(dcmread, node.delivered.iterdir()) if each.Modality == "SEG")
    correct((node.peer.host, node.peer.port), seg)
    uid = seg.SOPInstanceUID
    register = CorrectionRegister(node.data / "corrections.sqlite")
    for _ in range(DEATHS):
        node.process.join(60)
        assert node.process.exitcode == -9
        assert register.of(node.jobs()[0].id)[0].reason == "it waits for its turn"
        node.begin()  # not `start`: it may die before it answers
    wait_until(lambda: register.all()[0].given_up, what="the end of the tries")
    node.stop()
    node.start()
    node.peer.send(machines(seg, tmp_path))  # handed over with it, and after it
    wait_until(lambda: "SEG left out: drawn by" in node.log.read_text())
    node.stop()

    assert deaths_at(node.marker) == DEATHS
    (found,) = register.of(node.jobs()[0].id)
    assert found.uid == uid
    assert found.reason.startswith(f"the node died {DEATHS} times while it was compared; its file")
    assert [job.state for job in node.jobs()] == [State.DONE]
    assert [path.stem for path in (node.data / "spool").rglob("*.dcm")].count(uid) == 1
    lines = re.findall(f"SEG {uid} is not compared", node.log.read_text())
    assert len(lines) == 1


def machines(seg, folder):
    """Write a machine's SEG of the same series, whose UID sorts last; return its file."""
    seg.SOPInstanceUID = seg.file_meta.MediaStorageSOPInstanceUID = "2.999.1"
    for each in seg.SegmentSequence:
        each.SegmentAlgorithmType = "AUTOMATIC"
    seg.save_as(path := folder / "machines.dcm", enforce_file_format=True)
    return path
