"""The log of a run: steps, UIDs and seconds, and nothing about a patient."""

import io
import logging
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from dicom_node.logs import LineFormatter, quieten_libraries
from dicom_node.node.node import running_node
from dicom_node.results.phantom import write_series
from engine.phantom import make_phantom
from tests.dicom_node.node_process import NodeProcess, Thresholds, wait_until
from tests.engine.toy_model import write_toy_model
from tests.waiting import GENEROUS_S

PATIENT = {
    "PatientName": "Musterfrau^Erika",
    "PatientID": "4711-0815",
    "PatientBirthDate": "1949-12-31",  # not as DICOM writes it, so libraries warn of it
    "OtherPatientNames": "Gabler",
    "PatientComments": "Tochter von Frau Gabler",
    "SeriesDescription": "Abdomen Musterfrau",
}
SECRETS = ("Musterfrau", "Erika", "4711-0815", "19491231", "1949-12-31", "Gabler", "Neumann")
"""Nothing that digits of a UID or a clock could say by chance."""


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
            == [State.DELIVERING, State.REFUSED, State.REFUSED]
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


class Garrulous(Thresholds):
    """A device that fails as libraries do: quoting what it stumbled over."""

    def run(self, hu, spacing_mm):
        raise ValueError(f"could not convert string to float: {PATIENT['PatientName']!r}")


@pytest.fixture
def log():
    """Log lines of this test in the node's format."""
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(LineFormatter())
    quieten_libraries()
    logging.root.addHandler(handler)
    yield lines
    logging.root.removeHandler(handler)


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
def test_an_error_that_nobody_foresaw_is_told_by_its_place_and_not_in_its_words(
    of_patient, tmp_path, log
):
    settings = Settings(
        node={"data": tmp_path / "data", "port": 0},
        receive={"quiet_s": 0.2, "keep_free_mb": 0},
        engine={"model": write_toy_model(tmp_path / "model")},
        http={"port": 0},
    )
    paths = of_patient("garrulous")
    study = dcmread(paths[0]).StudyInstanceUID
    with (
        running_node(settings, open_device=lambda model, settings: Garrulous()) as node,
        open_ledger(settings.database_url) as ledger,
    ):
        StorePeer("node", node.ae_title, *node.address).send_many(paths)
        wait_until(lambda: [job.state for job in ledger.jobs()] == [State.FAILED])
        (job,) = ledger.jobs()
        address = "http://{}:{}/jobs?study={}".format(*node.http, study)
        with urllib.request.urlopen(address, timeout=GENEROUS_S) as reply:
            told = reply.read().decode()
    assert re.match(r"unforeseen ValueError at dicom_node/test_logs\.py:\d+; ", job.reason)
    (line,) = re.findall(r"^.* ERROR .*$", log.getvalue(), re.MULTILINE)  # and none of DBOS
    assert job.reason in line
    store = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("jobs.sqlite*"))
    kept = store.decode("utf-8", "replace")
    for place in (log.getvalue(), kept, told, job.reason):
        assert [word for word in SECRETS if word in place] == []


def test_the_words_of_an_error_stay_off_the_log_whoever_logs_it(log):
    logger = logging.getLogger("pynetdicom.events")
    try:
        float(PATIENT["PatientName"])
    except ValueError as error:
        logger.exception("a handler failed")
        logger.exception(error)  # as pynetdicom does
    first, second = log.getvalue().splitlines()
    assert re.search(r"ERROR a handler failed error='ValueError at .*test_logs\.py:\d+'$", first)
    assert " ERROR ValueError error=" in second
    assert "Musterfrau" not in log.getvalue()


@pytest.mark.parametrize("name", ["pydicom", "highdicom.base", "dicomweb_client.web"])
def test_libraries_that_quote_values_are_not_heard(log, name):
    logging.getLogger(name).warning('"Musterfrau" is potentially invalid')
    assert log.getvalue() == ""


FULL_LOG = """
import logging, os
from dicom_node.logs import start_logging
start_logging()
log = logging.getLogger("dicom_node")
kept = os.dup(2)
os.dup2(os.open("/dev/full", os.O_WRONLY), 2)
for number in range(1000):
    log.info("line %d: %s", number, "x" * 200)
os.dup2(kept, 2)
log.info("there is room again")
print("at its end")
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_the_log_ends_nothing_and_heals():
    done = subprocess.run([sys.executable, "-c", FULL_LOG], capture_output=True, text=True)
    assert done.stdout == "at its end\n"
    assert "INFO there is room again" in done.stderr
    assert len(done.stderr) < 20_000  # what found no room is not kept without end
