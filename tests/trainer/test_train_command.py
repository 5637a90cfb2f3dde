"""Roles of patients in a run: training, validation and held-out test."""

import pytest
import torch
import typer
from typer.testing import CliRunner

from trainer import train_command as making
from trainer.commands import register
from trainer.ensemble.members import make_member
from trainer.recipe.sections import FusionSettings
from trainer.training.ensemble import read_cases


@pytest.fixture
def made(tiny_recipe, data_folder, tmp_path, monkeypatch):
    """A run whose members have learnt nothing: whom it chose by, and what it said of itself."""
    torch.manual_seed(0)
    changes = {
        "validation": 3,
        "members": tiny_recipe.members[:2],
        "fusion": FusionSettings(kind="best"),
    }
    recipe = tiny_recipe.model_copy(update=changes)
    members = [make_member(recipe, each).eval() for each in recipe.members]
    seen = {}

    def choose(graph, recipe, slices):
        seen["chosen by"] = set(slices.patient)
        return recipe.fusion.model_copy(update={"kind": "mean"}), {}

    monkeypatch.setattr(making, "train_ensemble", lambda *of: members)
    monkeypatch.setattr(making, "choose_fusion", choose)
    monkeypatch.setattr(making, "export_model", lambda *of: seen.update(said=of[2]))
    making.train_model(recipe, making.Run(data_folder, tmp_path, tmp_path / "model"))
    return seen, read_cases(recipe, data_folder)


def test_the_fusion_is_chosen_by_those_who_steer_and_the_figures_are_of_those_held_out(made):
    seen, cases = made
    assert seen["chosen by"] == set(cases.validation.patient)
    judged = set(seen["said"].evaluation["patient_dice"]["liver"])
    assert judged == set(cases.held_out.patient) == set(cases.split.held_out)
    assert not judged & (seen["chosen by"] | set(cases.split.train))
    assert all(f"| {patient} |" in seen["said"].card for patient in judged)


@pytest.mark.parametrize("minutes", ["nan", "inf", "0", "0.05", "-8"])
def test_what_is_no_length_of_time_is_refused_before_anything_is_read(minutes, tmp_path):
    app = typer.Typer()
    register(app)
    options = "--data", str(tmp_path), f"--minutes={minutes}"
    ran = CliRunner().invoke(app, ["train", "base", *options], env={"COLUMNS": "200"})
    assert ran.exit_code == 2
    assert "minutes" in ran.output
    assert not list(tmp_path.iterdir())
