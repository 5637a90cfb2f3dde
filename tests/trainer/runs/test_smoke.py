"""Trial of the whole path."""

from trainer.recipe.recipe import load_recipe
from trainer.runs.smoke import SIDE, STEPS, empty, smoke_recipe
from trainer.training.resume.begun import BEGUN


def test_only_a_folder_that_a_run_was_begun_in_is_emptied(tmp_path):
    mine, run = tmp_path / "mine", tmp_path / "run"
    for folder in (mine, run):
        folder.mkdir()
        (folder / "notes.txt").write_text("kept")
    (run / BEGUN).write_text("{}")
    for folder in (mine, run, tmp_path / "none"):
        empty(folder)
    assert (mine / "notes.txt").read_text() == "kept"
    assert not run.exists()


def test_both_looks_are_tried_on_few_pixels():
    short = smoke_recipe(load_recipe("base"))
    assert [(each.name, each.steps) for each in short.members] == [
        ("unet", STEPS),
        ("fpn-box", STEPS),
    ]
    assert short.working.size == short.members[1].box.size == SIDE
    assert short.members[1].box.spacing_mm == 192 * 1.25 / SIDE
    assert short.working.spacing_mm == 256 * 1.75 / SIDE


def test_members_that_stay_see_the_pixels_that_they_have_learnt_from():
    recipe = load_recipe("base", ["members.0.cycles=[]"])
    short = smoke_recipe(recipe)
    assert short.working == recipe.working
    assert short.staying == ("unet",)
