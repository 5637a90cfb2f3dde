"""`hepar train list`, `plan` and `compare`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from engine.json_output import Json, print_json
from trainer.cli_errors import errors_said


def list_recipes(as_json: Json = False) -> None:
    """List the recipes that ship: networks, cost, figures published and measured here."""
    from trainer.runs.recipe_table import recipes_as_json, show_recipes

    if as_json:
        print_json(recipes_as_json())
    else:
        show_recipes(Console())


def plan(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", exists=True, help="Folder of data sets to learn from."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="TOML file to write; replaced when there.")
    ] = Path("planned.toml"),
) -> None:
    """Propose a recipe from DATA's own spacings, sizes and volumes, and write it as a TOML file."""
    with errors_said():
        from trainer.runs.plan import plan as plan_it

        plan_it(data, output, Console())


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", exists=True, help="Folders of runs, or model folders."),
    ],
    as_json: Json = False,
) -> None:
    """Show runs side by side: what differs in their recipes and data, and their figures."""
    with errors_said():
        from trainer.runs.side_by_side import compare_runs, runs_as_json

        if as_json:
            print_json(runs_as_json(runs))
        else:
            compare_runs(runs, Console())
