"""`hepar model calibrate` on a toy model, and the sections that it writes."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from dicom_node.main import build
from engine.manifest import Calibration, LesionFeature
from engine.model import default_model_folder, load_model
from trainer.calibration import calibrate_command as command
from trainer.calibration import reliability
from trainer.calibration.calibrate import Calibrated, calibrate
from trainer.calibration.calibrate_command import with_calibration
from trainer.calibration.observations import Area, Mark, Observations, on_device
from trainer.evaluation.run.slicewise import Alike
from trainer.recipe.recipe import load_recipe


def observed(patients=12):
    """Marks whose probability grows with their diameter, and areas with small errors."""
    random = np.random.default_rng(0)
    marks = []
    for patient in range(patients):
        for diameter in random.uniform(2, 6, 20):
            features = {LesionFeature.DIAMETER: diameter, LesionFeature.AGREEMENT: 0.5}
            marks.append(Mark(f"p{patient}", features, bool(random.random() < diameter / 7)))
    areas = {f"p{patient}": Area(100.0, 100.0 + patient) for patient in range(patients)}
    counts = {name: np.array([[90.0, 100.0], [0.0, 0.0]]) for name in areas}
    return Observations(tuple(marks), areas, {}, counts)


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch):
    monkeypatch.setattr(reliability, "DRAWS", 49)


NAMES = frozenset(f"p{number}" for number in range(12))


def test_what_patients_support_is_stated_and_the_rest_is_left_out_with_its_reason():
    done = calibrate(observed(), members=2, unseen=NAMES)
    assert done.calibration.lesions.patients == 12
    assert done.calibration.liver_volume.relative_error == pytest.approx(0.11)
    assert done.calibration.tumour_volume is None
    assert done.calibration.liver_agreement.least == pytest.approx(0.9)
    assert list(done.left_out) == ["calibration.tumour_volume", "calibration.tumour_agreement"]
    assert 0 <= done.evaluation["calibration"]["ece"] <= 1
    assert len(done.judged) == len(observed().marks)


def test_only_patients_that_no_member_learnt_from_count():
    done = calibrate(observed(), members=2, unseen=NAMES - {"p11"})
    assert done.calibration.lesions.patients == 11
    assert done.calibration.liver_volume.relative_error == pytest.approx(0.1)
    nothing = calibrate(observed(), members=2, unseen=frozenset())
    assert nothing.calibration is None
    assert len(nothing.left_out) == 5


def test_a_calibration_takes_the_place_of_the_one_before():
    manifest = load_model(default_model_folder()).manifest
    manifest = manifest.model_copy(
        update={"left_out": {"domain": "few", "calibration.lesions": "few"}}
    )
    done = calibrate(observed(), members=2, unseen=NAMES)
    written = with_calibration(manifest, done)
    assert written.calibration == done.calibration
    left_out = {"domain", "calibration.tumour_volume", "calibration.tumour_agreement"}
    assert set(written.left_out) == left_out
    assert written.evaluation["held_out_patients"] == manifest.evaluation["held_out_patients"]
    again = with_calibration(written, calibrate(observed(), 2, frozenset()))
    assert again.calibration is None
    assert "calibration" not in again.evaluation


def test_another_source_tells_whether_the_agreement_finds_the_worst():
    areas = {f"p{number}": Area(100.0, 100.0, 80.0 + number) for number in range(12)}
    counts = {name: np.array([[90.0, 100.0], [0.0, 0.0]]) for name in areas}
    counts |= {name: np.array([[80.0, 100.0], [0.0, 0.0]]) for name in ("p0", "p1", "p9")}
    stated = Calibration.model_validate(
        {"liver_agreement": {"least": 0.85, "part": 0.25, "patients": 18}}
    )
    with command.console.capture() as said:
        done = Calibrated(stated, {})
        others = Observations((), areas, {}, counts)
        command._show_check(done, others, Path("other"))
    words = " ".join(said.get().split())
    assert "marks 2 of the 3 patients with the lowest Dice of the liver" in words
    assert "and 1 of the 9 others" in words


def test_a_device_that_needs_neighbours_is_shown_each_slice_with_its_own():
    shown = []

    def run(hu, spacing_mm):
        shown.append(hu[:, 0, 0].tolist())
        return SimpleNamespace(
            labels=hu.astype(np.uint8), agreement=hu[:, :2, :2].astype(np.float32)
        )

    device = SimpleNamespace(name="toy", batch=8, run=run, neighbours=1)
    # As `offsets` orders them: the slice itself, the one below, the one above.
    values = np.float16([[11, 10, 12], [21, 20, 22]])
    stacks = values[:, :, None, None] * np.ones((2, 2), np.float16)
    answer = on_device(device)(Alike("a", 1.5, None, stacks))
    assert shown == [[10, 11, 12], [20, 21, 22]]
    assert answer.labels[:, 0, 0].tolist() == [11, 21]
    assert answer.agreement.shape == (2, 2, 2)


@pytest.fixture
def model(toy, tmp_path):
    """A toy model with a recipe, writable."""
    folder = tmp_path / "model"
    shutil.copytree(toy, folder)
    content = json.loads((folder / "model.json").read_text())
    content["recipe"] = load_recipe("base").model_dump(mode="json")
    (folder / "model.json").write_text(json.dumps(content))
    return folder


def hepar(*arguments):
    return CliRunner().invoke(build(), [str(each) for each in arguments], env={"COLUMNS": "200"})


def test_the_command_writes_the_manifest_anew_and_nothing_else(model, data_folder):
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    result = hepar("model", "calibrate", model, "--data", data_folder, "--check", data_folder)
    assert result.exit_code == 0, result.output
    after = {path.name: path.read_bytes() for path in model.iterdir()}
    assert [name for name in before if before[name] != after[name]] == ["model.json"]
    manifest = load_model(model).manifest
    # Two patients were held out from the toy: too few for anything.
    assert manifest.calibration is None
    assert "takes 9" in manifest.left_out["calibration.liver_volume"]
    assert "calibration.lesions is left out" in " ".join(result.output.split())


def test_the_command_states_how_well_a_calibration_holds(model, data_folder, monkeypatch):
    monkeypatch.setattr(command, "observe", lambda *given: observed())
    monkeypatch.setattr(command, "unseen_patients", lambda model: NAMES | {"lits3"})
    result = hepar("model", "calibrate", model, "--data", data_folder, "--check", data_folder)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "volume of the liver: ± 11.0 % with 90 % coverage, by 12 patients" in said
    assert "12 of 12 patients have the liver within" in said
    assert "by chance alone" in said
    assert load_model(model).manifest.calibration != Calibration()


def test_data_without_a_held_out_patient_is_refused(model, data_folder):
    content = json.loads((model / "model.json").read_text())
    content["evaluation"]["held_out_patients"] = ["lits99"]
    (model / "model.json").write_text(json.dumps(content))
    result = hepar("model", "calibrate", model, "--data", data_folder)
    assert result.exit_code == 1
    assert "none of the 1 patients held out from toy 0.1 is in" in " ".join(result.output.split())
