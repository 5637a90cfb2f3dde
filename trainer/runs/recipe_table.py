"""`hepar train list`: the recipes that ship, what they cost, and what they came to."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainer.recipe.recipe import RECIPES, Recipe, load_recipe
from trainer.recipe.sections import Measured

COLUMNS = (
    *("Recipe", "Networks", "Parameters", "Steps, slices each", "s/epoch"),
    *("Liver", "Tumour", "Patients", "Published"),
)


def shipped() -> list[Recipe]:
    """Return every recipe that ships, by name."""
    return [load_recipe(path.stem) for path in sorted(RECIPES.glob("*.toml"))]


def show_recipes(console: Console) -> None:
    """Print a row for each recipe, then what the figures are of."""
    table = Table(*COLUMNS, title="Recipes", title_justify="left")
    recipes = shipped()
    for recipe in recipes:
        table.add_row(*map(Text, _row(recipe)))
    console.print(table)
    for recipe in recipes:
        console.print(Text.assemble((recipe.name, "bold"), f": {recipe.description}"))
        if recipe.distil:
            console.print(Text("  needs --teacher MODEL"))
        if recipe.measured:
            console.print(Text(f"  figures here: {recipe.measured.how}"))
        if recipe.origin:
            console.print(Text(f"  figures published: {recipe.origin.split}"))
    console.print(
        "Dice on held-out patients. An epoch: once through 1,035 slices on a shared processor. "
        "docs/recipes.md has the whole tables."
    )


def _row(recipe: Recipe) -> tuple[str, ...]:
    steps = " ".join(f"{member.steps:,}" for member in recipe.members)
    return (
        recipe.name,
        ", ".join(member.network for member in recipe.members),
        f"{recipe.measured.parameters_m:.1f} M" if recipe.measured else "?",
        f"{steps}, {recipe.batch.size}",
        *_measured(recipe.measured),
        recipe.origin.dice if recipe.origin else "-",
    )


def _measured(measured: Measured | None) -> tuple[str, str, str, str]:
    if measured is None:
        return "?", "?", "?", "?"
    seconds = "?" if measured.epoch_s is None else f"{measured.epoch_s:.0f}"
    people = f"{measured.patients}, {measured.ill} ill"
    return seconds, f"{measured.liver:.3f}", f"{measured.tumour:.3f}", people
