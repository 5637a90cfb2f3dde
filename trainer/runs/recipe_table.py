"""`hepar train list`: the recipes that ship, what they cost, and what they came to."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from trainer.recipe.recipe import RECIPES, Recipe, load_recipe
from trainer.recipe.sections import Measured

COLUMNS = "Recipe", "Liver", "Tumour", "Patients", "Parameters", "s/epoch"
"""Few and short: the table must fit into 80 characters."""


def shipped() -> list[Recipe]:
    """Return every recipe that ships, by name."""
    return [load_recipe(path.stem) for path in sorted(RECIPES.glob("*.toml"))]


def recipes_as_json() -> dict[str, Any]:
    """Return what the table shows, by the recipe's name; null where nothing was measured."""
    return {
        recipe.name: {
            "description": recipe.description,
            "networks": [member.name for member in recipe.members],
            "steps": [member.steps for member in recipe.members],
            "slices_per_step": recipe.batch.size,
            "needs_teacher": recipe.distil is not None,
            "measured": recipe.measured.model_dump() if recipe.measured else None,
            "published": {"dice": recipe.origin.dice, "split": recipe.origin.split}
            if recipe.origin
            else None,
        }
        for recipe in shipped()
    }


def show_recipes(console: Console) -> None:
    """Print a row for each recipe, then what the figures are of."""
    table = Table(*COLUMNS, title="Recipes", title_justify="left")
    recipes = shipped()
    for recipe in recipes:
        table.add_row(*map(Text, (recipe.name, *_measured(recipe.measured))))
    console.print(table)
    for recipe in recipes:
        console.print(Text.assemble((recipe.name, "bold"), f": {recipe.description}"))
        for line in _details(recipe):
            console.print(Padding(Text(line), (0, 0, 0, 2)))  # wrapped lines are indented, too
    console.print(
        "Dice on held-out patients. An epoch: once through 1,628 slices on a shared processor. "
        "docs/recipes.md has the whole tables."
    )


def _details(recipe: Recipe) -> Iterator[str]:
    """Yield lines on what is trained, and on where the figures come from."""
    members = (f"{member.name} ({member.steps:,} steps)" for member in recipe.members)
    yield f"trains: {', '.join(members)}; {recipe.batch.size} slices a step"
    if recipe.distil:
        yield "needs --teacher MODEL"
    if recipe.measured:
        yield f"figures here: {recipe.measured.how}"
    if recipe.origin:
        yield f"figures published: {recipe.origin.dice}; {recipe.origin.split}"


def _measured(measured: Measured | None) -> tuple[str, ...]:
    if measured is None:
        return ("?",) * (len(COLUMNS) - 1)
    seconds = "?" if measured.epoch_s is None else f"{measured.epoch_s:.0f}"
    people = f"{measured.patients}, {measured.ill} ill"
    size = f"{measured.parameters_m:.1f} M"
    return f"{measured.liver:.3f}", f"{measured.tumour:.3f}", people, size, seconds
