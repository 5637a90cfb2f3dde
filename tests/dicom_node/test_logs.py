"""What a run leaves in the log: steps, UIDs and seconds, and nothing about a patient."""

import re

import pytest
from pydicom import dcmread

from dicom_node.jobs.job import State
from dicom_node.peers import StorePeer
from dicom_node.phantom_series import write_series
from engine.phantom import make_phantom
from tests.dicom_node.node_process import NodeProcess, wait_until

PATIENT = {
    "PatientName": "Musterfrau^Erika",
    "PatientID": "4711-0815",
    "PatientBirthDate": "1949-12-31",  # not as DICOM writes it, so libraries warn of it
    "OtherPatientNames": "Gabler",
    "SeriesDescription": "Abdomen Musterfrau",
}
SECRETS = ("Musterfrau", "Erika", "4711", "1949", "12-31", "Gabler", "Neumann")


@pytest.fixture
def of_patient(tmp_path):
    """Write a phantom's series as this patient's, with further changes to its last instance."""

    def write(name, **changes):
        made = make_phantom(shape=(20, 64, 64), spacing_mm=(10, 6, 6), noise_hu=2, tumours=0)
        paths = write_series(made, name, tmp_path / name)
        for path in paths:
            instance = dcmread(path)
            with pytest.warns(UserWarning, match="1949-12-31"):
                instance.update({**PATIENT, **(changes if path is paths[-1] else {})})
            instance.save_as(path)
        return paths

    return write


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
def test_no_line_of_a_run_names_the_patient(of_patient, tmp_path):
    peers = {
        "shelf": {"kind": "folder", "folder": tmp_path / "shelf"},
        "away": {"kind": "store", "ae_title": "AWAY", "host": "127.0.0.1", "port": 1},
    }
    node = NodeProcess(tmp_path, peers=peers, jobs={"first_pause_s": 0.1, "longest_pause_s": 0.1})
    node.start()
    good, mixed, gap = (
        of_patient("good"),
        of_patient("mixed", PatientID="Neumann"),
        of_patient("gap"),
    )
    for paths in (good, mixed, gap[:9] + gap[11:], gap[:3]):
        node.peer.send_many(paths)
    StorePeer("node", "HEPAR", node.peer.host, node.peer.port).echo()
    wait_until(
        lambda: (
            sorted(job.state for job in node.jobs())
            == [State.DELIVERING, State.FAILED, State.FAILED]
        )
    )
    wait_until(lambda: "not delivered yet" in node.log.read_text())
    node.stop()

    log = node.log.read_text()
    assert [word for word in SECRETS if word in log] == []
    series = dcmread(good[0], stop_before_pixels=True).SeriesInstanceUID
    for action in ("queue", "read", "search", "compute", "clean", "write", "verify", "deliver"):
        assert re.search(rf"^.* action={action} .*series={series}", log, re.MULTILINE), action
    for action in ("read", "compute", "write", "verify"):
        assert re.search(rf"action={action} series={series} seconds=\d+\.\d+$", log, re.MULTILINE)
