"""The state of jobs over HTTP."""

import json
import time
import urllib.error
import urllib.request

import pytest
from pydantic import ValidationError
from pydicom import dcmread
from pydicom.uid import generate_uid

from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.errors import AlreadyRunning
from dicom_node.jobs.state import State
from dicom_node.jobs.viewer_link import viewer_link
from dicom_node.node.node import running_node
from dicom_node.node.status_server import state_served
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.results.phantom import write_series
from engine.phantom import make_phantom
from tests.dicom_node.node_process import Thresholds
from tests.engine.toy_model import write_toy_model

VIEWER = "https://viewer.example/viewer?StudyInstanceUIDs={study}&initialSeriesInstanceUID={series}"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    settings = Settings(
        node={"data": folder / "data", "port": 0},
        receive={"quiet_s": 0.2, "keep_free_mb": 0},
        engine={"model": write_toy_model(folder / "model")},
        peers={"shelf": {"kind": "folder", "folder": folder / "shelf"}},
        http={"port": 0},
        viewer={"url": VIEWER},
    )
    with running_node(settings, open_device=lambda model, settings: Thresholds()) as node:
        yield node, folder / "shelf"


def ask(address, path):
    with urllib.request.urlopen(f"http://{address[0]}:{address[1]}{path}", timeout=5) as reply:
        return json.load(reply)


def refusal(address, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(address, path)
    with refused.value as error:
        return error.code, json.load(error)["error"]


def test_health_says_who_answers(node):
    running, _ = node
    said = ask(running.http, "/health")
    assert said == {"ae_title": "HEPAR", "model": "toy", "model_version": "0.1"}


def test_a_study_is_told_until_its_result_can_be_looked_at(node, tmp_path, caplog):
    caplog.set_level("INFO", "dicom_node")
    running, shelf = node
    made = make_phantom(shape=(20, 64, 64), spacing_mm=(10, 6, 6), noise_hu=2, tumours=0)
    paths = write_series(made, generate_uid(), tmp_path)
    source = dcmread(paths[0])
    assert ask(running.http, f"/jobs?study={source.StudyInstanceUID}") == []
    StorePeer("node", running.ae_title, *running.address).send_many(paths)
    job = settled(running.http, source.StudyInstanceUID)
    assert (job["state"], job["slices"]) == ("done", 20)
    assert job["series"] == source.SeriesInstanceUID
    assert job["deliveries"] == [{"peer": "shelf", "item": "seg", "state": "done"}]
    seg = dcmread(next(shelf.glob("*.dcm")))
    assert job["viewer"] == VIEWER.format(study=seg.StudyInstanceUID, series=seg.SeriesInstanceUID)
    assert f"see {job['viewer']}" in caplog.messages
    assert isinstance(job["review"], list)
    assert source.PatientID not in json.dumps(job)
    assert not [each for each in (tmp_path, shelf.parent) if str(each) in json.dumps(job)]


def settled(address, study):
    for _ in range(300):
        jobs = ask(address, f"/jobs?study={study}")
        if jobs and State(jobs[0]["state"]).settled:
            return jobs[0]
        time.sleep(0.1)
    raise TimeoutError(f"not settled: {jobs}")


def test_what_cannot_be_asked_is_refused_with_what_can(node):
    running, _ = node
    assert refusal(running.http, "/patients") == (
        404,
        "unknown path /patients; use /health or /jobs",
    )
    assert refusal(running.http, "/jobs") == (400, "no study named; use /jobs?study=UID")


def test_a_port_that_is_taken_is_named(node, tmp_path):
    running, shelf = node
    store = f"sqlite:///{shelf.parent / 'data' / 'jobs.sqlite'}"
    with (
        pytest.raises(AlreadyRunning, match=r"set http\.port"),
        state_served(running.http, store, {}, None),
    ):
        pass


def test_there_is_no_link_without_a_result_or_without_a_viewer():
    made = Outcome(Verdict.SEGMENTED, seg_series_uid="1.3")
    nothing = Outcome(Verdict.NOTHING_FOUND, "no liver")
    template = "http://v/{study}/{series}"
    assert viewer_link(template, "1.1", made) == "http://v/1.1/1.3"
    assert viewer_link(template, "1.1", nothing) is None
    assert viewer_link(template, "1.1", None) is None
    assert viewer_link(None, "1.1", made) is None


@pytest.mark.parametrize("url", ["ftp://v/{study}/{series}", "http://v/{study}", "http://v/{0}"])
def test_an_address_that_names_no_result_is_refused(url):
    with pytest.raises(ValidationError):
        Settings(viewer={"url": url})
