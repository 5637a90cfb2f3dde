import re

import pytest
import typer
from typer.testing import CliRunner

from engine.commands import register
from engine.errors import BrokenModel, ModelNotFound
from engine.model import default_model_folder, load_model
from engine.shipped import shipped_models


@pytest.fixture
def hepar():
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    return lambda *arguments: CliRunner().invoke(app, arguments, env={"COLUMNS": "140"})


def test_a_model_is_shown_with_all_that_it_says_of_itself(hepar, toy):
    shown = hepar("model", "show", str(toy.folder))
    assert shown.exit_code == 0
    for said in ("toy 0.1", "lenient, strict", toy.digest, "10200004", "CC0-1.0", "verified"):
        assert said in shown.output
    assert "patients unseen" in shown.output
    assert "not compared with those that it learnt from" in " ".join(shown.output.split())
    assert "no probabilities and no intervals" in " ".join(shown.output.split())


def test_a_folder_without_a_model_is_an_error_for_the_command_line(hepar, tmp_path):
    assert isinstance(hepar("model", "show", str(tmp_path)).exception, ModelNotFound)


def test_a_model_with_a_changed_file_is_not_shown(hepar, toy_folder):
    (toy_folder / "ensemble.onnx").write_bytes(b"")
    assert isinstance(hepar("model", "show", str(toy_folder)).exception, BrokenModel)


def test_help_says_what_it_does(hepar):
    assert "verify its files" in hepar("model", "show", "--help").output


def test_a_shipped_model_is_shown_by_its_name(hepar):
    shown = hepar("model", "show", "base")
    assert shown.exit_code == 0
    assert str(default_model_folder()) in shown.output.replace("\n", "")
    assert "Scans that it learnt from (76 patients)" in shown.output
    assert "179 true and 19 false marks" in " ".join(shown.output.split())
    assert "± 7.7 % with 90 % coverage" in " ".join(shown.output.split())
    assert "below 0.910, as of 25 %" in " ".join(shown.output.split())


def test_every_shipped_model_is_listed_with_its_figures(hepar):
    listed = hepar("model", "list")
    assert listed.exit_code == 0
    for name, folder in shipped_models().items():
        model = load_model(folder)
        evaluation = model.manifest.evaluation
        liver = evaluation["pooled_dice"][evaluation["fusion"]]["liver"]
        (row,) = (line for line in listed.output.splitlines() if re.match(rf"\W+{name} ", line))
        assert model.version in row
        assert f"{liver:.4f}" in row
