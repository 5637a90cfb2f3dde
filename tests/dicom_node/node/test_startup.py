"""A node under load changes its device between two jobs, and every SEG says what computed it."""

import time
from dataclasses import replace

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from dicom_node.node import startup as opening_module
from dicom_node.node.node import running_node
from dicom_node.results.phantom import write_series
from engine.errors import DeviceFailed
from engine.model import default_model_folder, load_model
from engine.phantom import make_phantom
from engine.plans.key import Precision
from engine.plans.store import PlanStore
from engine.serving.fleet import Opener
from tests.dicom_node.node_process import Thresholds
from tests.engine.plans.factories import make_check, make_key, make_manifest
from tests.engine.plans.verified_plan import verified_plan
from tests.engine.toy_model import write_toy_model

KEY = make_key()


class Planned(Thresholds):
    """Thresholds, under the name of the plan that was active when it was opened."""

    fails = False

    def __init__(self, name):
        self.name = name

    def run(self, hu, spacing_mm):
        if Planned.fails and self.name != "OpenVINO CPU":
            raise DeviceFailed("out of memory")
        return super().run(hu, spacing_mm)


@pytest.fixture
def store(tmp_path):
    """Two verified plans."""
    store = PlanStore(tmp_path / "data" / "plans")
    with store.building():
        for content in (b"one", b"two"):
            store.record_check(store.keep(make_manifest(content), content), make_check())
    return store


@pytest.fixture
def settings(tmp_path, store, monkeypatch):
    def planned():
        return Planned(f"TensorRT {store.active(KEY.slot).name}")

    def devices(model, plans, **_):
        real = openers(model, plans)
        return [replace(real[0], open=planned), Opener("cpu", lambda: Planned("OpenVINO CPU"))]

    openers = opening_module.openers
    monkeypatch.setattr(opening_module, "openers", devices)
    monkeypatch.setattr(Planned, "fails", False)
    return Settings(
        node={"data": tmp_path / "data", "port": 0},
        receive={"quiet_s": 0.2, "keep_free_mb": 0},
        engine={"model": write_toy_model(tmp_path / "model")},
    )


def send(node, tmp_path, count=1):
    made = make_phantom(shape=(20, 64, 64), spacing_mm=(10, 6, 6), noise_hu=2, tumours=0)
    for _ in range(count):
        uid = generate_uid()
        peer = StorePeer("node", node.ae_title, *node.address)
        peer.send_many(write_series(made, uid, tmp_path / uid))


def done(ledger, count):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        jobs = ledger.jobs()
        if len(jobs) == count and all(job.state is State.DONE for job in jobs):
            return jobs
        time.sleep(0.05)
    raise AssertionError(f"waited too long; last seen: {jobs}")


def devices_of(jobs, settings):
    """Devices named in the SEGs, in the order of the jobs."""
    said = []
    for job in jobs:
        seg = dcmread(settings.node.data / "delivered" / f"{job.outcome.seg_uid}.dcm")
        names = {
            item.SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters
            for item in seg.SegmentSequence
        }
        (name,) = names
        said.append(name.split("device=")[1])
    return said


def test_the_configuration_chooses_a_shipped_model_by_its_name(tmp_path):
    model, _ = opening_module.to_fleet(Settings(node={"data": tmp_path}, engine={"model": "base"}))
    assert model.folder == default_model_folder()


def test_plans_are_switched_between_jobs_and_no_job_is_lost_or_mixed(settings, store, tmp_path):
    first, second = (f"TensorRT {plan.name}" for plan in store.plans())
    store.activate(store.plans()[0].name)
    with (
        running_node(settings) as node,
        open_ledger(settings.database_url) as ledger,
    ):
        send(node, tmp_path, 2)
        done(ledger, 2)
        send(node, tmp_path, 4)
        store.activate(store.plans()[1].name)
        done(ledger, 6)
        send(node, tmp_path)
        done(ledger, 7)
        store.rollback(KEY.slot)
        send(node, tmp_path)
        said = devices_of(done(ledger, 8), settings)
    assert said[:2] == [first, first]
    assert set(said[2:6]) <= {first, second}
    assert said[6:] == [second, first]


def test_a_device_that_fails_in_a_job_hands_all_of_it_to_the_next(settings, store, tmp_path):
    store.activate(store.plans()[0].name)
    with (
        running_node(settings) as node,
        open_ledger(settings.database_url) as ledger,
    ):
        Planned.fails = True
        send(node, tmp_path, 2)
        assert devices_of(done(ledger, 2), settings) == ["OpenVINO CPU"] * 2


@pytest.mark.gpu
def test_real_plans_are_switched_under_a_node_at_work(tmp_path):
    plans, model = tmp_path / "data" / "plans", load_model(default_model_folder())
    halves = [verified_plan(model, plans, kind) for kind in (Precision.FLOAT16, Precision.FLOAT32)]
    first, second = (f"TensorRT {plan.name}" for plan in halves)
    store = PlanStore(plans)
    store.activate(halves[0].name)
    settings = Settings(
        node={"data": tmp_path / "data", "port": 0},
        receive={"quiet_s": 0.2, "keep_free_mb": 0},
    )
    with (
        running_node(settings) as node,
        open_ledger(settings.database_url) as ledger,
    ):
        send(node, tmp_path, 4)
        store.activate(halves[1].name)
        done(ledger, 4)
        send(node, tmp_path)
        done(ledger, 5)
        store.rollback(halves[0].key.slot)
        send(node, tmp_path)
        said = devices_of(done(ledger, 6), settings)
    assert set(said[:4]) <= {first, second}
    assert said[4:] == [second, first]
