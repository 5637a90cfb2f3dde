"""A research group's whole way: its data, a model of its own, and SEGs from that model."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from typer.testing import CliRunner

from dicom_node.main import build
from dicom_node.results.phantom import write_series, write_truth
from engine.model import load_model
from engine.phantom import make_phantom
from tests.trainer.datasets.sample_data import write_ircad

PATIENTS = 4
QUICK = (
    "crop=64",
    "working.size=64",
    "working.spacing_mm=6.0",
    "batch.tumour=2",
    "batch.other=2",
    "schedule.epoch_steps=10",
    "learning_rate=0.01",
    "average=0.9",
    "program=false",
    'members=[{network="linknet", cycles=[30], seed=1}, {network="linknet", cycles=[30], seed=2}]',
)
"""Smaller in every way, and long enough to find a phantom's liver."""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("newcomer")


@pytest.fixture(scope="module")
def data(place) -> Path:
    """Four patients in the layout of 3D-IRCADb-01."""
    for number in range(1, PATIENTS + 1):
        phantom = make_phantom(number, shape=(20, 80, 80), spacing_mm=(12.0, 4.8, 4.8))
        write_ircad(phantom, place / "data", number)
    return place / "data"


def hepar(*arguments: object) -> str:
    """Run a command of `hepar`; return what it printed."""
    result = CliRunner().invoke(build(), [*map(str, arguments)], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output[-3000:] + repr(result.exception)
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def run(data, place) -> Path:
    changes = [each for change in QUICK for each in ("--set", change)]
    options = ("--run", place / "run", "--workers", 0, "--precision", "32-true")
    said = hepar("train", "bluenet", "--data", data, *options, *changes)
    assert "patients to train on: 2 (40 slices); to validate: 1; held out: 1" in said
    return place / "run"


@pytest.fixture(scope="module")
def model(run, data, place) -> Path:
    """The model exported once more, in half precision."""
    hepar(
        "model", "export", run, "--output", place / "mine", "--precision", "float16", "--data", data
    )
    return place / "mine"


def test_the_data_are_checked_before_they_are_learnt_from(data, place):
    said = hepar("dataset", "check", data, "--sheet", place / "sheet.png")
    assert f"{PATIENTS} patients, {PATIENTS} with drawn tumours" in said
    assert (place / "sheet.png").is_file()


def test_the_model_is_judged_on_whom_it_has_not_seen_and_has_learnt_something(run, data, place):
    report, record = place / "report.html", place / "figures.json"
    options = ("--model", run / "model", "--report", report, "--json", record)
    hepar("evaluate", "--data", data, *options)
    (judged,) = json.loads(record.read_text())["methods"].values()
    stated = load_model(run / "model").manifest.evaluation
    assert list(judged["per_patient"]) == stated["held_out_patients"]
    (patient,) = judged["per_patient"].values()
    assert patient["liver"]["dice"] > 0.3
    assert "bluenet 1.0.0" in report.read_text()


def test_the_model_can_be_looked_into_and_shown(run, model, data, place):
    hepar("explain", run / "model", "--data", data, "--output", place / "inside")
    page = (place / "inside" / "explanation.html").read_text()
    assert all(name in page for name in ("bluenet 1.0.0", "linknet 1", "linknet 2", "Grad-CAM"))
    said = hepar("model", "show", model)
    assert "float16" in said
    assert "3D-IRCADb-01" in said


def test_the_seg_comes_out_of_the_new_model_and_marks_the_liver(model, place):
    phantom = make_phantom(9, shape=(20, 80, 80), spacing_mm=(12.0, 4.8, 4.8))
    write_series(phantom, "newcomer", place / "ct")
    write_truth(phantom, "newcomer", place / "truth")
    with serving(model, place) as port:
        hepar("send", place / "ct", f"HEPAR@127.0.0.1:{port}")
        seg = wait_for(lambda: only_seg(place / "node" / "delivered"))
    (segment, *_) = seg.SegmentSequence
    assert segment.SegmentAlgorithmName == "bluenet"
    assert seg.ContentDescription.endswith("by bluenet 1.0.0")
    serials = [each.get("DeviceSerialNumber") for each in seg.ContributingEquipmentSequence]
    assert load_model(model).digest in serials
    record = place / "seg.json"
    judge = ("--segs", place / "node" / "delivered", "--json", record)
    hepar("evaluate", "--series", place / "ct", "--truth", place / "truth" / "truth.dcm", *judge)
    (judged,) = json.loads(record.read_text())["methods"].values()
    (patient,) = judged["per_patient"].values()
    assert patient["liver"]["dice"] > 0.3


@contextmanager
def serving(model: Path, place: Path) -> Iterator[int]:
    """Give the port of `hepar serve` with a model, as a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = place / "hepar.toml"
    settings.write_text(
        f'[node]\nport = {port}\ndata = "{place / "node"}"\n[receive]\nquiet_s = 1\n'
        "keep_free_mb = 0\n[select]\nmin_slices = 10\nmax_thickness_mm = 20\n"
    )
    command = [sys.executable, "-c", "from dicom_node.main import main; main()", "serve"]
    with (place / "log").open("w") as log:
        node = subprocess.Popen(
            [*command, "--config", settings, "--model", model], stdout=log, stderr=log
        )
    try:
        wait_for(lambda: "listens on" in (place / "log").read_text() or node.poll())
        assert node.poll() is None, (place / "log").read_text()
        yield port
    finally:
        node.terminate()
        node.wait(30)


def only_seg(folder: Path) -> Dataset | None:
    found = [dcmread(path) for path in folder.glob("*.dcm")]
    segs = [each for each in found if each.Modality == "SEG"]
    return segs[0] if segs else None


def wait_for(met: Callable[[], Any], seconds: float = 300) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := met()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)
    return found
