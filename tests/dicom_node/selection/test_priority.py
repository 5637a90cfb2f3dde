"""Urgent series are recognised and go first."""

import threading
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydicom import dcmwrite

from dicom_node.config.settings import Settings
from dicom_node.data_folder import DataFolder
from dicom_node.decoding.stream import BrokenStream
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.jobs.dbos_runtime import submit
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.records import SegmentResult, SeriesTask
from dicom_node.jobs.state import State
from dicom_node.jobs.steps.series_worker import SeriesWorker
from dicom_node.node.node import running_node
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.pipeline.segmenter import SegmentationSetup
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.phantom import write_series
from dicom_node.selection.priority import is_urgent
from dicom_node.selection.rules import PriorityRules, Rules
from engine.phantom import make_phantom
from engine.serving.turns import DeviceQueue
from tests.dicom_node.jobs.running import run_worker
from tests.dicom_node.jobs.test_workflows import Scripted
from tests.dicom_node.node_process import Thresholds, wait_until
from tests.engine.toy_model import write_toy_model


@pytest.fixture
def written(ct_series, tmp_path):
    """Write an instance with changed attributes, as if `sender` had sent it; returns its file."""

    def write(sender="", **attributes):
        (instance,) = ct_series(slices=1)
        for keyword, value in attributes.items():
            setattr(instance, keyword, value)
        if sender:
            instance.file_meta.SendingApplicationEntityTitle = sender
        dcmwrite(tmp_path / "a.dcm", instance, enforce_file_format=True)
        return [tmp_path / "a.dcm"]

    return write


@pytest.mark.parametrize(
    ("changes", "urgent"),
    [
        ({}, False),
        ({"RequestedProcedurePriority": "STAT"}, True),
        ({"RequestedProcedurePriority": "HIGH"}, True),
        ({"RequestedProcedurePriority": "ROUTINE"}, False),
        ({"sender": "CT_ER"}, True),
        ({"sender": "CT_WARD"}, False),
        ({"StudyDescription": "CT Abdomen TRAUMA"}, True),
    ],
)
def test_priority_sender_or_description_make_a_series_urgent(written, changes, urgent):
    rules = PriorityRules(calling=("CT_ER",), include={"StudyDescription": "trauma|stat"})
    assert is_urgent(written(**changes), rules) is urgent


def test_without_rules_only_the_priority_counts(written):
    written_by_er = written(sender="CT_ER", StudyDescription="trauma")
    assert not is_urgent(written_by_er, PriorityRules())
    assert is_urgent(written(RequestedProcedurePriority="STAT"), PriorityRules())


def test_a_file_that_cannot_be_read_is_not_urgent(tmp_path):
    (tmp_path / "no.dcm").write_bytes(b"nothing")
    assert not is_urgent([tmp_path / "no.dcm"], PriorityRules())
    assert not is_urgent([tmp_path / "absent.dcm"], PriorityRules())


def test_a_rule_on_what_is_not_described_is_refused():
    with pytest.raises(ValidationError, match="unknown attribute 'PatientName'"):
        PriorityRules(include={"PatientName": "x"})


def task(series_uid):
    return SeriesTask("1.1", series_uid, (Path(f"/{series_uid}.dcm"),))


class Held(Scripted):
    """A worker that segments nothing until it is let."""

    def __init__(self):
        super().__init__([], [])
        self.begun, self.let = [], threading.Event()

    def segment(self, job, task, *, urgent, superseded):
        self.begun.append((job, urgent))
        assert self.let.wait(30)
        return SegmentResult(Outcome(Verdict.NOT_SELECTED, "held"))


@pytest.fixture
def queues(tmp_path):
    """A worker that holds the first job, and the ledger of what waits behind it."""
    url, worker = f"sqlite:///{tmp_path / 'jobs.sqlite'}", Held()
    with (
        run_worker(worker, url),
        open_ledger(url) as ledger,
    ):
        submit("first", task("1.2.1"))
        wait_until(lambda: worker.begun)
        submit("second", task("1.2.2"))
        yield worker, ledger
        worker.let.set()
        wait_until(lambda: all(not job.state.active for job in ledger.jobs()))


def test_an_urgent_job_waits_for_no_other(queues):
    worker, ledger = queues
    submit("urgent", task("1.2.3"), urgent=True)
    wait_until(lambda: len(worker.begun) == 2)
    assert worker.begun == [("first", False), ("urgent", True)]
    assert ledger.find("second").state is State.WAITING


def test_an_urgent_series_is_next_on_the_device(tmp_path, monkeypatch):
    class Watched(DeviceQueue):
        def on(self, device, *, urgent=False):
            asked.append(urgent)
            return super().on(device, urgent=urgent)

    class Always:
        def run(self, work):
            return work(method)

    asked, method = [], SegmentationSetup(Thresholds(), Algorithm("toy", "1", "ab"), Rules())
    nothing = Outcome(Verdict.NOTHING_FOUND, "no liver")
    monkeypatch.setattr("dicom_node.jobs.steps.series_worker.process", lambda *_, **__: nothing)
    worker = SeriesWorker(
        Always(), DataFolder(tmp_path), {}, lambda *_: None, device_queue=Watched()
    )
    for urgent in (True, False):
        worker.segment("job", task("1.2"), urgent=urgent)
    assert asked == [True, False]


def test_a_waiting_job_can_be_urged(queues):
    worker, ledger = queues
    assert ledger.urge(ledger.find("second"))
    wait_until(lambda: len(worker.begun) == 2)
    assert worker.begun[1] == ("second", True)
    assert ledger.find("second").urgent
    assert not ledger.urge(ledger.find("first"))


def test_a_file_beyond_the_bounds_is_not_read(written, monkeypatch):
    def refuse(path):
        raise BrokenStream("it inflates to more than 1024 MB")

    paths = written(RequestedProcedurePriority="STAT")
    monkeypatch.setattr("dicom_node.selection.priority.require_bounded_file", refuse)
    assert not is_urgent(paths, PriorityRules())


def test_what_a_named_scanner_sends_is_urgent(tmp_path):
    settings = Settings(
        node={"data": tmp_path / "data", "port": 0},
        receive={"quiet_s": 0.1, "resend_s": 0, "keep_free_mb": 0},
        engine={"model": write_toy_model(tmp_path / "model")},
        urgent={"calling": ["CT_ER"]},
    )
    made = make_phantom(shape=(4, 32, 32), spacing_mm=(10, 6, 6), noise_hu=2, tumours=0)
    with (
        running_node(settings, open_device=lambda model, settings: Thresholds()) as node,
        open_ledger(settings.database_url) as ledger,
    ):
        for sender in ("CT_ER", "CT_WARD"):
            peer = StorePeer("node", node.ae_title, *node.address, calling_ae_title=sender)
            peer.send_many(write_series(made, sender, tmp_path / sender))
        wait_until(lambda: len(ledger.jobs()) == 2)
        wait_until(lambda: all(not job.state.active for job in ledger.jobs()))
        assert sorted(job.urgent for job in ledger.jobs()) == [False, True]
