"""A shadow model beside a running node, from C-STORE to the promoted model's own result."""

import json
import logging

import httpx
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid
from typer.testing import CliRunner

from dicom_node.config.settings import Settings
from dicom_node.corrections.kept_labels import read_kept_labels
from dicom_node.corrections.register import CorrectionRegister
from dicom_node.data_folder import DataFolder
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from dicom_node.jobs.upkeep.cleanup import discard
from dicom_node.main import build
from dicom_node.node.node import running_node
from dicom_node.receive.spool import Spool
from dicom_node.results.phantom import write_series
from dicom_node.shadow.runner import ShadowRunner
from dicom_node.shadow.work_register import ShadowState, WorkRegister
from engine.device import Answer
from engine.errors import DeviceFailed
from engine.model import load_model
from engine.phantom import make_phantom
from tests.dicom_node.corrections.drawn import correct
from tests.engine.toy_model import write_manifest, write_toy_model
from tests.waiting import wait_until


class Band:
    """A device that takes a band of densities for liver."""

    batch = 8

    def __init__(self, name, low):
        self.name, self.low = name, low

    def run(self, hu, spacing_mm):
        liver = (hu >= self.low) & (hu <= 140)
        return Answer(liver.astype(np.uint8), np.ones((len(hu), 2, 2), np.float32))


def open_device(model, settings):
    return Band(model.name, {"toy": 70, "candidate": 98}[model.name])


@pytest.fixture
def folder(tmp_path):
    write_toy_model(tmp_path / "model")
    write_manifest(write_toy_model(tmp_path / "candidate"), name="candidate", version="2")
    return tmp_path


def configured(folder, **engine):
    return Settings(
        node={"data": folder / "data", "port": 0},
        receive={"quiet_s": 0.3, "resend_s": 0, "keep_free_mb": 0},
        engine={"model": folder / "model", "shadow": folder / "candidate", **engine},
        http={"port": 0},
        peers={"shelf": {"kind": "folder", "folder": folder / "shelf", "objects": ["seg"]}},
    )


def write_phantom(folder):
    made = make_phantom(shape=(20, 64, 64), spacing_mm=(10, 6, 6), noise_hu=20, tumours=0)
    return write_series(made, generate_uid(), folder)


def job_of(settings, paths):
    """Wait until the only job on a series is done, and return it."""
    uid, found = dcmread(paths[0]).SeriesInstanceUID, []

    def done():
        with open_ledger(settings.database_url) as ledger:
            found[:] = [job for job in ledger.jobs() if job.series_uid == uid]
        return bool(found) and not found[-1].state.active

    wait_until(done)
    (job,) = found
    assert job.state is State.DONE, job.reason
    return job


def shadow_work(data, job):
    """Wait until the shadow has done with a job; return what became of it."""
    ended = ShadowState.COMPUTED, ShadowState.NOT_COMPUTED
    register = WorkRegister(data.shadow)
    wait_until(lambda: any(each.state in ended for each in register.of(job.id)))
    return register.of(job.id)


def corrections_with_shadows(data):
    register = CorrectionRegister(data.corrections)
    wait_until(lambda: any(each.shadows for each in register.all()))
    return register.all()


def test_from_a_series_to_the_promoted_models_own_result(folder, monkeypatch):
    settings, data = configured(folder), DataFolder(folder / "data")
    shelf, first = folder / "shelf", write_phantom(folder / "one")
    config = folder / "hepar.toml"
    config.write_text(
        f'[node]\ndata = "{data.folder}"\n[engine]\nmodel = "{folder / "model"}"\n'
        f'shadow = "{folder / "candidate"}"\n[audit]\nfile = "{folder / "audit.log"}"\n'
    )
    with running_node(settings, open_device=open_device) as node:
        peer = StorePeer("node", node.ae_title, *node.address)
        peer.send_many(first)
        job = job_of(settings, first)
        (work,) = shadow_work(data, job)
        assert (work.state, work.model) == (ShadowState.COMPUTED, "candidate 2")
        (shadow,) = data.shadow_files_of(job.id)
        assert read_kept_labels(shadow).model == "candidate 2"
        (sent,) = shelf.iterdir()
        correct(node.address, dcmread(sent))
        (found,) = corrections_with_shadows(data)
        assert (found.model, found.dice["liver"]) == ("toy 0.1", pytest.approx(1.0))
        (other,) = found.shadows
        assert (other.model, other.digest) == (
            "candidate 2",
            load_model(folder / "candidate").digest,
        )
        assert 0 < other.dice["liver"] < 1
        page = httpx.get(f"http://127.0.0.1:{node.http[1]}/").text
        assert "candidate 2 as a shadow beside toy 0.1: 1 corrected result of both" in page
        page = httpx.get(f"http://127.0.0.1:{node.http[1]}/jobs/{job.id}").text
        assert "Shadow model candidate 2: computed" in page
    hepar = CliRunner()
    monkeypatch.setattr("dicom_node.commands.models.promote.open_candidate", lambda *_: "a device")
    few = hepar.invoke(build(), ["model", "promote", "-c", str(config), "--yes"])
    assert "1 corrected result" in str(few.exception)
    shown = hepar.invoke(build(), ["model", "shadow", "-c", str(config), "--json"])
    assert json.loads(shown.stdout)["comparison"]["count"] == 1
    done = hepar.invoke(build(), ["model", "promote", "-c", str(config), "--yes", "--anyway"])
    assert done.exit_code == 0, done.exception
    for _ in range(2):  # back, and forth again
        assert hepar.invoke(build(), ["model", "rollback", "-c", str(config)]).exit_code == 0
    assert "110131" in (folder / "audit.log").read_text()
    with running_node(settings, open_device=open_device) as node:
        peer = StorePeer("node", node.ae_title, *node.address)
        peer.send_many(second := write_phantom(folder / "two"))
        made = job_of(settings, second)
        job_of(settings, first)  # the only job still
        assert len(list(shelf.iterdir())) == 2
        result = dcmread(shelf / f"{made.outcome.seg_uid}.dcm")
        assert result.DeviceSerialNumber == load_model(folder / "candidate").digest
        assert WorkRegister(data.shadow).of(made.id) == []  # it serves, and is no shadow


def test_a_correction_is_compared_when_the_shadow_comes_later(folder, monkeypatch):
    settings, data = configured(folder), DataFolder(folder / "data")
    monkeypatch.setattr(ShadowRunner, "_compute_all", lambda runner: runner._stop.wait(120))
    with running_node(settings, open_device=open_device) as node:
        peer = StorePeer("node", node.ae_title, *node.address)
        peer.send_many(paths := write_phantom(folder / "one"))
        job = job_of(settings, paths)
        (sent,) = (folder / "shelf").iterdir()
        correct(node.address, dcmread(sent))
        register = CorrectionRegister(data.corrections)
        wait_until(lambda: any(not each.reason for each in register.all()))
        assert [each.shadows for each in register.all()] == [()]
    monkeypatch.undo()
    with running_node(settings, open_device=open_device):
        (work,) = shadow_work(data, job)
        assert work.state is ShadowState.COMPUTED
        (found,) = corrections_with_shadows(data)
        assert found.shadows[0].dice["liver"] > 0
    with open_ledger(settings.database_url) as ledger:
        discard(job, ledger, Spool(data.spool), data)
    assert list(data.results.iterdir()) == []
    assert WorkRegister(data.shadow).of(job.id) == []


def broken_graph(folder):
    (folder / "candidate" / "ensemble.onnx").write_bytes(b"cut off")


def no_folder(folder):
    (folder / "candidate").rename(folder / "elsewhere")


def damaged_register(folder):
    (folder / "data").mkdir()
    (folder / "data" / "shadow.sqlite").write_bytes(b"no database" * 1000)


@pytest.mark.parametrize("spoil", [broken_graph, no_folder, damaged_register])
def test_a_broken_shadow_is_logged_and_the_node_goes_on(folder, spoil, caplog):
    spoil(folder)
    settings = configured(folder)
    with (
        caplog.at_level(logging.WARNING),
        running_node(settings, open_device=open_device) as node,
    ):
        peer = StorePeer("node", node.ae_title, *node.address)
        peer.send_many(paths := write_phantom(folder / "one"))
        job_of(settings, paths)
        ready = httpx.get(f"http://127.0.0.1:{node.http[1]}/readyz", timeout=60)
        assert (ready.status_code, "goes on without it" in ready.text) == (200, True)
    assert "the shadow model cannot run, the node goes on without it" in caplog.text


def test_a_shadow_that_fails_is_a_remark_and_no_failed_job(folder):
    class Failing(Band):
        def run(self, hu, spacing_mm):
            raise DeviceFailed("out of order")

    def opened(model, settings):
        return Failing("x", 0) if model.name == "candidate" else Band("x", 70)

    settings, data = configured(folder), DataFolder(folder / "data")
    with running_node(settings, open_device=opened) as node:
        StorePeer("node", node.ae_title, *node.address).send_many(
            paths := write_phantom(folder / "one")
        )
        job = job_of(settings, paths)
        (work,) = shadow_work(data, job)
    assert (work.state, work.reason) == (ShadowState.NOT_COMPUTED, "out of order")
    assert data.shadow_files_of(job.id) == []
