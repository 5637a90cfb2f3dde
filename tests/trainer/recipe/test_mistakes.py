"""Mistakes in a recipe."""

import pytest

from trainer.errors import BadRecipe
from trainer.recipe.recipe import load_recipe


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("schedule.epochs=3", "schedule.epochs: there is no such key; allowed are epoch_steps,"),
        (
            "members.0.net=unet",
            "members.0.net: there is no such key; allowed are batch, box, cycles, loss,",
        ),
        ("augmentation.phase.far=1", "augmentation.phase.far: there is no such key; allowed are "),
        ("colour=1", "colour: there is no such key; allowed are augmentation, average,"),
    ],
)
def test_a_key_that_is_not_there_comes_with_those_that_are(change, words):
    with pytest.raises(BadRecipe) as caught:
        load_recipe("bluenet", [change])
    assert words in str(caught.value)


@pytest.mark.parametrize("like", ['"nope"', '"../shipped/base"', "3"])
def test_a_recipe_is_like_one_that_ships(tmp_path, like):
    path = tmp_path / "my.toml"
    path.write_text(f"like = {like}")
    with pytest.raises(BadRecipe, match=r"like = .* names no recipe that ships; known: base, "):
        load_recipe(str(path))
