"""A node that segments with a faster model while many series wait."""

import threading

import httpx
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.errors import BadConfiguration
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from dicom_node.node.node import running_node
from dicom_node.results.phantom import write_series
from engine.device import Answer
from engine.errors import DeviceFailed
from engine.model import load_model
from engine.phantom import make_phantom
from tests.engine.toy_model import write_manifest, write_toy_model
from tests.waiting import wait_until

FAST = "fast 2"


class Band:
    """A device that takes a band of densities for liver, once it may."""

    batch = 8

    def __init__(self, name, may_run):
        self.name, self.may_run = name, may_run

    def run(self, hu, spacing_mm):
        assert self.may_run.wait(120)
        liver = (hu >= 70) & (hu <= 140)
        return Answer(liver.astype(np.uint8), np.ones((len(hu), 2, 2), np.float32))


@pytest.fixture
def folder(tmp_path):
    write_toy_model(tmp_path / "model")
    write_manifest(write_toy_model(tmp_path / "faster"), name="fast", version="2", members=["one"])
    return tmp_path


def configured(folder, **engine):
    objects = ["seg", "report"]
    return Settings(
        node={"data": folder / "data", "port": 0},
        receive={"quiet_s": 0.3, "resend_s": 0, "keep_free_mb": 0},
        engine={
            "model": folder / "model",
            "backlog_model": folder / "faster",
            "backlog_series": 2,
            **engine,
        },
        http={"port": 0},
        peers={"shelf": {"kind": "folder", "folder": folder / "shelf", "objects": objects}},
    )


def write_phantom(folder):
    made = make_phantom(shape=(20, 64, 64), spacing_mm=(10, 6, 6), noise_hu=20, tumours=0)
    return write_series(made, generate_uid(), folder)


def jobs(settings):
    with open_ledger(settings.database_url) as ledger:
        return ledger.jobs()


def states(settings):
    return [job.state for job in jobs(settings)]


def segs(folder, job):
    """Return the SEGs that were delivered of a job's series, the newest last."""
    files = sorted((folder / "shelf").glob("*.dcm"), key=lambda each: each.stat().st_mtime_ns)
    found = [each for each in map(dcmread, files) if each.Modality == "SEG"]
    uid = job.series_uid
    return [each for each in found if each.ReferencedSeriesSequence[0].SeriesInstanceUID == uid]


def report(folder, job):
    """Return the report on a job's only SEG as JSON."""
    (seg,) = segs(folder, job)
    found = [dcmread(each) for each in (folder / "shelf").glob("*.dcm")]
    texts = [each.to_json() for each in found if each.Modality == "SR"]
    (text,) = [each for each in texts if seg.SOPInstanceUID in each]
    return text


def made_by(seg):
    """Return the models that a SEG names in each of the places that name one."""
    algorithm = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    return f"{algorithm.AlgorithmName} {algorithm.AlgorithmVersion}", seg.DeviceSerialNumber


def test_a_backlog_makes_results_of_the_faster_model_and_none_after_it(folder, caplog):
    caplog.set_level("INFO")
    settings, may_run = configured(folder), threading.Event()
    usual = ("toy 0.1", load_model(folder / "model").digest)
    faster = (FAST, load_model(folder / "faster").digest)
    series = [write_phantom(folder / str(number)) for number in range(6)]
    with running_node(settings, open_device=lambda model, _: Band(model.name, may_run)) as node:
        peer = StorePeer("node", node.ae_title, *node.address)
        peer.send_many(series[0])
        wait_until(lambda: states(settings) == [State.SEGMENTING])
        for number, each in enumerate(series[1:], start=1):
            peer.send_many(each)
            wait_until(lambda: states(settings).count(State.WAITING) == number)  # noqa: B023
        may_run.set()
        wait_until(lambda: set(states(settings)) == {State.DONE})
        done = jobs(settings)
        # As each begins, 0, 4, 3, 2, 1 and 0 others wait.
        models = [usual, faster, faster, faster, usual, usual]
        assert [made_by(*segs(folder, job)) for job in done] == models
        assert [job.outcome.model for job in done] == [name for name, _ in models]
        derivations = [segs(folder, job)[0].DerivationDescription for job in done]
        remarked = ["Segmented by the faster model fast 2 because" in each for each in derivations]
        assert remarked == [each is faster for each in models]
        assert "because 2 series waited" in report(folder, done[3])
        assert "series waited" not in report(folder, done[4])
        page = f"http://127.0.0.1:{node.http[1]}"
        shown = httpx.get(f"{page}/jobs/{done[2].id}").text
        assert "Model: fast 2." in shown
        assert "because more than 2 series waited" in shown
        metrics = httpx.get(f"{page}/metrics", timeout=60).text
        assert 'hepar_segmented_total{model="fast 2"} 3.0' in metrics
        assert 'hepar_segmented_total{model="toy 0.1"} 3.0' in metrics
        assert "<dt>Model in a backlog</dt><dd>fast 2</dd>" in httpx.get(f"{page}/").text
        peer.send_many(series[1])  # the same work: it makes no second result
        wait_until(lambda: "known, 20 instances unchanged" in caplog.text)
        assert len(jobs(settings)) == 6
        assert [made_by(each) for each in segs(folder, done[1])] == [faster]
        redo(settings, done[1])
        assert [made_by(each) for each in segs(folder, done[1])] == [faster, usual]
        redone = jobs(settings)[1]
        assert (redone.outcome.model, redone.outcome.notes) == (usual[0], ())


def redo(settings, job):
    """Let a person ask for another result of a job, and wait for it."""
    with open_ledger(settings.database_url) as ledger:
        assert ledger.redo(ledger.find(job.id))
    wait_until(lambda: set(states(settings)) == {State.DONE})


def test_the_faster_model_is_not_open_until_a_backlog_comes(folder):
    opened, may_run = [], threading.Event()
    may_run.set()

    def open_device(model, _):
        opened.append(model.name)
        return Band(model.name, may_run)

    settings = configured(folder)
    with running_node(settings, open_device=open_device) as node:
        assert opened == ["toy", "fast"]  # the second to check it
        StorePeer("node", node.ae_title, *node.address).send_many(write_phantom(folder / "one"))
        wait_until(lambda: states(settings) == [State.DONE])
    assert opened == ["toy", "fast"]
    opened.clear()
    with running_node(configured(folder, backlog_model=None), open_device=open_device):
        assert opened == ["toy"]


def test_a_faster_model_that_is_the_usual_one_changes_nothing(folder, caplog):
    caplog.set_level("INFO")
    settings = configured(folder, backlog_model=folder / "model")
    with running_node(settings, open_device=lambda model, _: Band(model.name, None)):
        pass
    assert "engine.backlog_model is the model that serves" in caplog.text


def test_a_faster_model_on_the_processor_beside_a_gpu_is_a_warning(folder, caplog):
    class Gpu(Band):
        memory_mb = None

    def open_device(model, _):
        return (Band if model.name == "fast" else Gpu)(model.name, None)

    with running_node(configured(folder), open_device=open_device):
        pass
    assert "engine.backlog_model runs on fast, which is hardly faster" in caplog.text


def broken_graph(folder):
    (folder / "faster" / "ensemble.onnx").write_bytes(b"cut off")


def no_folder(folder):
    (folder / "faster").rename(folder / "elsewhere")


@pytest.mark.parametrize("spoil", [broken_graph, no_folder])
def test_a_broken_faster_model_stops_the_start(folder, spoil):
    spoil(folder)
    with (
        pytest.raises(BadConfiguration, match=r"engine\.backlog_model cannot be used"),
        running_node(configured(folder), open_device=lambda model, _: Band(model.name, None)),
    ):
        pass


def test_a_faster_model_that_fails_its_reference_stops_the_start(folder):
    def open_device(model, _):
        if model.name == "fast":
            raise DeviceFailed("exceeds the tolerances")
        return Band(model.name, None)

    with (
        pytest.raises(BadConfiguration, match=r"engine\.backlog_model .* exceeds the tolerances"),
        running_node(configured(folder), open_device=open_device),
    ):
        pass
