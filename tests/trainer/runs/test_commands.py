"""`hepar train` and its sub-commands, from the command line."""

import json
import tomllib

import pytest
import typer
from typer.testing import CliRunner

from tests.trainer.datasets.sample_data import small_phantom, write_ircad, write_lits
from trainer.commands import register
from trainer.recipe.recipe import RECIPES, load_recipe

pytestmark = pytest.mark.usefixtures("few_levels")

TINY = (
    *("crop=64", "working.size=64", "working.spacing_mm=7.0", "held_out=3", "validation=0"),
    *("schedule.epoch_steps=2", "phantoms=0", "batch={tumour=1,other=1}"),
    'members=[{network="fpn",cycles=[2],seed=1}]',
)


def hepar(*arguments: object, columns: int = 200):
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": f"{columns}"})


def options(*changes: str) -> list[str]:
    return [each for change in (*TINY, *changes) for each in ("--set", change)]


def test_recipes_are_listed_with_their_cost_and_both_kinds_of_figures():
    # As wide as a terminal is by default: no name may be cut.
    result = hepar("train", "list", columns=80)
    assert result.exit_code == 0, result.output
    for path in RECIPES.glob("*.toml"):
        assert path.stem in result.output
    assert "16.2 M" in result.output
    assert "0.977" in result.output  # published
    assert "0.943" in result.output  # measured here
    assert "needs --teacher" in result.output
    listed = json.loads(hepar("train", "list", "--json").output)
    assert listed["bluenet"]["measured"]["liver"] == 0.943
    assert listed["fast"]["needs_teacher"]


@pytest.mark.parametrize("words", [["--help"], ["bluenet", "--help"]])
def test_the_help_of_training_names_the_other_commands(words):
    said = " ".join(hepar("train", *words).output.replace("│", " ").split())
    assert "Usage: root train [OPTIONS]" in said
    assert "hepar train plan DATA" in said


def test_what_is_neither_a_recipe_nor_a_command_names_the_recipes(tmp_path):
    result = hepar("train", "lists", "--data", tmp_path)
    assert result.exit_code == 2
    assert "no recipe 'lists'" in " ".join(result.output.split())


@pytest.fixture(scope="module")
def tried(data_folder, tmp_path_factory):
    """A folder of runs after `--smoke`, and what was printed."""
    run = tmp_path_factory.mktemp("runs") / "mine"
    (run.parent / "mine-smoke").mkdir()
    (run.parent / "mine-smoke" / "begun.json").write_text("{}")  # an earlier trial of other data
    result = hepar("train", "unet-slices", "--data", data_folder, "--run", run, "--smoke")
    assert result.exit_code == 0, result.output
    return run.parent, result.output


def test_a_trial_goes_the_whole_path_to_a_model_and_its_figures(tried):
    folder, said = tried
    assert "the figures of so few steps mean nothing" in " ".join(said.split())
    assert "Held-out patients" in said
    manifest = json.loads((folder / "mine-smoke" / "model" / "model.json").read_text())
    assert manifest["name"] == "unet-slices-smoke"
    assert manifest["evaluation"]["held_out_patients"]
    assert manifest["evaluation"]["trained_patients"] <= 6
    assert manifest["domain"] is None
    assert "ranges take 20" in manifest["left_out"]["domain"]
    assert not (folder / "mine").exists()


def test_runs_are_compared_by_what_differs_and_by_their_figures(tried, data_folder, tmp_path):
    folder, _ = tried
    other = tmp_path / "other"
    (other / "1-fpn").mkdir(parents=True)
    begun = json.loads((folder / "mine-smoke" / "begun.json").read_text())
    begun["recipe"]["learning_rate"] = 0.5
    (other / "begun.json").write_text(json.dumps(begun))
    result = hepar("train", "compare", folder / "mine-smoke", other)
    assert result.exit_code == 0, result.output
    (line,) = (each for each in result.output.splitlines() if "learning_rate" in each)
    assert "0.0001" in line
    assert "0.5" in line
    assert "working.size" not in result.output
    assert "liver, pooled Dice" in result.output
    assert "has not ended: 1-fpn is saved at epoch 0" in " ".join(result.output.split())
    both = json.loads(hepar("train", "compare", folder / "mine-smoke", other, "--json").output)
    assert both[str(other)]["differs"]["learning_rate"] == 0.5
    assert both[str(folder / "mine-smoke")]["evaluation"]["held_out_patients"]


def test_a_folder_that_is_no_run_is_not_compared(tmp_path):
    result = hepar("train", "compare", tmp_path)
    assert result.exit_code == 1
    assert "neither a run nor a model" in " ".join(result.output.split())


def test_a_plan_follows_the_data_and_can_be_trained_by(tmp_path):
    for number in (60, 61):
        write_lits(small_phantom(number), tmp_path / "data", number)
    plan = tmp_path / "mine.toml"
    result = hepar("train", "plan", tmp_path / "data", "-o", plan)
    assert result.exit_code == 0, result.output
    recipe = load_recipe(str(plan))
    table = tomllib.loads(plan.read_text())
    assert recipe.working.spacing_mm * recipe.working.size == pytest.approx(48 * 8 * 0.92, rel=0.01)
    assert (recipe.held_out, recipe.validation) == (2, 0)
    assert [member.network for member in recipe.members] == ["fpn"]
    assert recipe.slice_step_mm == 0  # slices lie 25 mm apart
    assert recipe.weight_decay == load_recipe("base").weight_decay
    assert "weight_decay" not in table
    assert recipe.measured is None
    assert f"hepar train {plan} --data" in result.output.replace("\n", "")


def test_a_plan_for_data_without_a_whole_case_is_refused(tmp_path):
    write_ircad(small_phantom(), tmp_path, 5)
    (tmp_path / "3Dircadb1.5" / "MASKS_DICOM" / "liver" / "image_0").unlink()
    result = hepar("train", "plan", tmp_path, "-o", tmp_path / "mine.toml")
    assert result.exit_code == 1
    assert "all 1 are broken" in " ".join(result.output.split())
    assert not (tmp_path / "mine.toml").exists()


def test_folds_judge_each_patient_once_and_become_one_model(data_folder, tmp_path, monkeypatch):
    written = {}
    # Writing graphs takes most of the time, and is tested with an ensemble elsewhere.
    monkeypatch.setattr(
        "trainer.train_command.export_model",
        lambda members, recipe, description, folder: written.update(locals()),
    )
    monkeypatch.setattr("trainer.training.callbacks.draw", lambda *_: None)
    command = ["train", "unet-slices", "--data", data_folder, "--workers", 0, "--folds", 2]
    result = hepar(*command, "--run", tmp_path / "run", *options())
    assert result.exit_code == 0, result.output
    evaluation = written["description"].evaluation
    one, other = map(set, evaluation["folds"])
    assert not one & other
    assert len(one) - len(other) in (-1, 0, 1)
    assert set(evaluation["patient_dice"]["liver"]) <= one | other
    assert evaluation["held_out_patients"] == []
    assert len(written["members"]) == len(written["recipe"].members) == 2
    assert "members are those of 2 folds" in " ".join(written["description"].card.split())
    assert {each.name for each in (tmp_path / "run").glob("fold-*")} == {"fold-1", "fold-2"}
    monkeypatch.setattr("trainer.training.loop._fit", lambda *_: pytest.fail("trained again"))
    assert hepar(*command, "--run", tmp_path / "run", *options()).exit_code == 0


def test_more_folds_than_patients_are_refused(data_folder, tmp_path):
    command = ["train", "unet-slices", "--data", data_folder, "--folds", 40]
    result = hepar(*command, "--run", tmp_path / "run", *options())
    assert result.exit_code == 1
    assert "too few for 40 folds" in " ".join(result.output.split())
    assert hepar(*command[:-1], 1).exit_code == 2
