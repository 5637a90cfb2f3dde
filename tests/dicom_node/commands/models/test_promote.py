"""`hepar model promote` and `rollback`, and what they refuse."""

import pytest
from typer.testing import CliRunner

from dicom_node.commands.models import promote as promote_module
from dicom_node.corrections.correction import ShadowDice
from dicom_node.corrections.register import CorrectionRegister
from dicom_node.corrections.side_by_side import FEWEST
from dicom_node.data_folder import DataFolder
from dicom_node.main import build
from dicom_node.shadow.promotion import served_folder
from engine.errors import DeviceFailed
from engine.model import load_model
from tests.dicom_node.corrections.drawn import correction
from tests.engine.toy_model import write_manifest, write_toy_model


class Desk:
    """A node's folder with a serving model and a candidate."""

    def __init__(self, folder):
        self.first = write_toy_model(folder / "first")
        self.second = write_toy_model(folder / "second")
        write_manifest(self.second, name="candidate")
        self.data = DataFolder(folder / "data")
        self.data.folder.mkdir()
        self.config = folder / "hepar.toml"
        self.configure(f'shadow = "{self.second}"')

    def configure(self, shadow):
        self.config.write_text(
            f'[node]\ndata = "{self.data.folder}"\n[engine]\nmodel = "{self.first}"\n{shadow}\n'
        )

    def correct(self, count, shadow):
        register = CorrectionRegister(self.data.corrections)
        serving, other = load_model(self.first).digest, load_model(self.second).digest
        for index in range(count):
            dice = {"liver": shadow + index / 1000}
            made = ShadowDice("candidate 0.1", other, dice)
            register.keep(correction(digest=serving, dice={"liver": 0.8}, shadows=(made,)))

    def run(self, *arguments, answer=""):
        line = ["model", *arguments, "--config", str(self.config)]
        return CliRunner().invoke(build(), line, input=answer)

    def served(self):
        return load_model(served_folder(self.first, self.data)).name


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.setattr(promote_module, "open_candidate", lambda *_: "a device")
    return Desk(tmp_path)


def test_a_better_candidate_serves_after_a_yes_and_a_rollback_undoes_it(desk):
    desk.correct(FEWEST, 0.9)
    refused = desk.run("promote", answer="n\n")
    assert (refused.exit_code, desk.served()) == (1, "toy")
    done = desk.run("promote", answer="y\n")
    assert done.exit_code == 0, done.exception
    assert "the shadow agrees more" in done.stdout
    assert "serves once the node is restarted" in done.stdout
    assert desk.served() == "candidate"
    assert "serves already" in str(desk.run("promote", "--yes").exception)
    assert desk.run("rollback").exit_code == 0
    assert desk.served() == "toy"


@pytest.mark.parametrize(
    ("count", "shadow", "words"),
    [
        (0, 0.9, "0 corrected results compared with both models"),
        (FEWEST - 1, 0.9, f"at least {FEWEST} are needed"),
        (FEWEST, 0.5, "the shadow agrees less"),
    ],
)
def test_what_speaks_against_it_refuses_unless_it_is_wanted_anyway(desk, count, shadow, words):
    desk.correct(count, shadow)
    refused = desk.run("promote", "--yes")
    assert words in str(refused.exception)
    assert desk.served() == "toy"
    assert desk.run("promote", "--yes", "--anyway", "--json").exit_code == 0
    assert desk.served() == "candidate"


def test_without_a_shadow_it_says_what_to_do(desk):
    desk.configure("")
    for command in ("promote", "shadow"):
        assert "name the candidate as engine.shadow" in str(desk.run(command).exception)
    assert "no model was promoted" in str(desk.run("rollback").exception)


def test_a_damaged_candidate_is_not_promoted(desk):
    (desk.second / "ensemble.onnx").write_bytes(b"cut off")
    refused = desk.run("promote", "--yes", "--anyway")
    assert "does not match model.json" in str(refused.exception)
    assert desk.served() == "toy"


def test_a_candidate_that_fails_the_gate_is_not_promoted(desk, monkeypatch):
    def fail(*_):
        raise DeviceFailed("no device can run the model")

    monkeypatch.setattr(promote_module, "open_candidate", fail)
    refused = desk.run("promote", "--yes", "--anyway")
    assert "no device can run the model" in str(refused.exception)
    assert desk.served() == "toy"


def test_the_comparison_names_models_figures_and_bias(desk):
    desk.correct(FEWEST, 0.9)
    shown = desk.run("shadow")
    assert "liver: mean DSC 0.800 serving, 0.90" in shown.stdout
    assert f"worse on 0 of {FEWEST} images" in shown.stdout
    assert "favours that model" in shown.stdout
