"""`hepar train` and `hepar evaluate`.

torch takes seconds to import, so only who trains or evaluates pays for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from engine.errors import EngineError
from engine.model import default_model_folder
from trainer.errors import TrainerError
from trainer.recipe import load_recipe

RecipeName = Annotated[
    str, typer.Argument(help="Recipe that ships with Hepar, such as base, or a TOML file.")
]
DataFolder = Annotated[Path, typer.Option("--data", help="Folder with the labelled slices.")]


def register(app: typer.Typer) -> None:
    """Add the trainer's commands to `hepar`, where what they need is installed."""
    if find_spec("torch") is not None:
        app.command(rich_help_panel="Models")(train)
        app.command(rich_help_panel="Models")(evaluate)


def train(
    recipe: RecipeName,
    data: DataFolder,
    run: Annotated[Path, typer.Option(help="Folder for checkpoints; an old run goes on.")],
    model: Annotated[Path, typer.Option(help="Model folder to write; replaced when it is there.")],
) -> None:
    """Learn a recipe's members from labelled slices and write a model folder.

    Patients are split by the recipe; the held-out ones are only looked at in the end. Stopped and
    called again with the same --run, it goes on at the last checkpoint.
    """
    with _errors_said():
        from trainer.sessions import train_model

        train_model(load_recipe(recipe), data, run, model)


def evaluate(
    data: DataFolder,
    model: Annotated[Path | None, typer.Option(help="Model folder; the default model.")] = None,
    trained: Annotated[
        bool, typer.Option("--trained", help="The patients it has learnt from instead.")
    ] = False,
) -> None:
    """Compare a model with what experts drew in patients it has never seen.

    The model folder runs as the node runs it, slice by slice and without the cleaning in 3-D.
    """
    with _errors_said():
        from trainer.sessions import evaluate_model

        evaluate_model(model or default_model_folder(), data, trained=trained)


@contextmanager
def _errors_said() -> Iterator[None]:
    """End the command with an error's message and its exit status."""
    try:
        yield
    except (TrainerError, EngineError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False)
        raise typer.Exit(error.exit_code) from error
