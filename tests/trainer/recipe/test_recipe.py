"""Every recipe, small, from the command to the engine."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from engine.model import default_model_folder, load_model
from engine.serving.cpu import open_device
from trainer.commands import register
from trainer.errors import BadRecipe
from trainer.recipe.recipe import RECIPES, Recipe, load_recipe

pytestmark = pytest.mark.usefixtures("few_levels")

SMALL = (
    "crop=64",
    "working.size=64",
    "working.spacing_mm=7.0",
    "held_out=3",
    "validation=3",
    "schedule.epoch_steps=2",
    "program=false",
    "phantoms=0",
)


def hepar(*arguments: str):
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, list(arguments))


def train(recipe: str, data: Path, folder: Path, *changes: str) -> Path:
    """Train for two steps; return the model folder."""
    options = [each for change in (*SMALL, *changes) for each in ("--set", change)]
    result = hepar(
        *("train", recipe, "--data", str(data), "--run", str(folder), "--workers", "0", *options)
    )
    assert result.exit_code == 0, result.output
    return folder / "model"


def shortened(recipe: str) -> list[str]:
    """Leave the first member, for two steps."""
    member = tomllib.loads((RECIPES / f"{recipe}.toml").read_text())["members"][0]
    return [f'members=[{{network="{member["network"]}", cycles=[2], seed=1}}]']


PUBLISHED = sorted({path.stem for path in RECIPES.glob("*.toml")} - {"base", "fast"})
"""`fast` needs a teacher: tests/trainer/training/test_distillation.py."""


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_every_recipe_trains_exports_and_runs_in_the_engine(recipe, data_folder, tmp_path):
    model = load_model(train(recipe, data_folder, tmp_path, *shortened(recipe)))
    hu = np.random.default_rng(0).integers(-200, 300, (3, 40, 50)).astype(np.float16)
    answer = open_device(model).run(hu, (6.0, 7.0))
    assert answer.labels.shape == hu.shape
    assert model.manifest.evaluation["held_out_patients"]
    card = (model.folder / "MODEL_CARD.md").read_text()
    assert card.startswith(f"# Model card: {recipe} 1.0.0\n")
    assert "departs from it" in card
    assert "CC BY-SA 4.0" in (model.folder / "LICENSE").read_text()


def test_the_command_trains_an_ensemble_chooses_its_fusion_and_evaluates_it(data_folder, tmp_path):
    members = ", ".join(f'{{network="linknet", cycles=[2], seed={seed}}}' for seed in (1, 2))
    model = train(
        "unet-slices", data_folder, tmp_path, f"members=[{members}]", 'fusion.kind="best"'
    )
    manifest = json.loads((model / "model.json").read_text())
    assert "The fusion was chosen by the mean of" in (model / "MODEL_CARD.md").read_text()
    assert manifest["recipe"]["fusion"]["kind"] in {"blumberg", "mean", "majority", "weighted"}
    result = hepar("evaluate", "--data", str(data_folder), "--model", str(model))
    assert result.exit_code == 0, result.output
    for patient in manifest["evaluation"]["held_out_patients"]:
        assert patient in result.output


def test_a_model_folder_is_a_recipe_to_train_by_once_more():
    folder = default_model_folder()
    recipe = load_recipe(str(folder), ["crop=160"])
    assert recipe.crop == 160
    stated = Recipe.model_validate(load_model(folder).manifest.recipe)
    assert recipe.model_copy(update={"crop": stated.crop}) == stated


def test_a_folder_whose_manifest_breaks_off_is_refused(tmp_path):
    (tmp_path / "model.json").write_text('{"recipe": ')
    with pytest.raises(BadRecipe, match=r"model\.json is no JSON"):
        load_recipe(str(tmp_path))


def test_a_folder_without_a_recipe_is_refused(tmp_path):
    with pytest.raises(BadRecipe, match="no recipe"):
        load_recipe(str(tmp_path))
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(BadRecipe, match="members: Field required"):
        load_recipe(str(tmp_path))
