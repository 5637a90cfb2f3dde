"""Changes of single keys."""

import pytest

from trainer.errors import BadRecipe
from trainer.recipe.key_changes import change_key


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('rate="one-cycle"', "one-cycle"),
        ("rate=one-cycle", "one-cycle"),  # as a shell leaves the line before
        ("rate = 0.25", 0.25),
        ("rate=true", True),
        ("rate=[1, 2]", [1, 2]),
        ("rate='two words'", "two words"),
    ],
)
def test_a_value_means_what_it_means_in_toml(text, value):
    table: dict[str, object] = {}
    change_key(table, text)
    assert table == {"rate": value}


@pytest.mark.parametrize("text", ["rate", "rate=", "rate=two words", "rate=[1", "rate=1.2.3"])
def test_what_is_no_value_is_refused(text):
    with pytest.raises(BadRecipe, match="name a key of the recipe, and give its value as in TOML"):
        change_key({}, text)


def test_a_place_in_a_list_that_is_not_there_is_refused():
    with pytest.raises(BadRecipe, match=r"members\.1\.seed=1"):
        change_key({"members": [{"seed": 2}]}, "members.1.seed=1")
