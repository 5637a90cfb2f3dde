"""`hepar train` and `hepar evaluate`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from engine.devices import open_device
from engine.errors import EngineError
from engine.manifest import Data
from engine.model import default_model_folder, load_model
from trainer.errors import TrainerError
from trainer.evaluation import Figures, compare_fusions, evaluate_device
from trainer.export import Description, export_model
from trainer.graph import EnsembleGraph
from trainer.recipe import Recipe, load_recipe
from trainer.report import LICENCE, to_card, to_evaluation
from trainer.run import Cases, read_cases, train_ensemble
from trainer.training import Progress as Step

DATA = (
    Data(
        name="Medical Segmentation Decathlon, Task03 Liver",
        licence="CC BY-SA 4.0",
        attribution="Antonelli et al. 2022, doi:10.1038/s41467-022-30695-9",
    ),
    Data(
        name="LiTS, Liver Tumor Segmentation Benchmark",
        licence="CC BY-SA 4.0",
        attribution="Bilic et al. 2023, doi:10.1016/j.media.2022.102680",
    ),
)

console = Console()

RecipeName = Annotated[
    str, typer.Argument(help="Recipe that ships with Hepar, such as base, or a TOML file.")
]
DataFolder = Annotated[Path, typer.Option("--data", help="Folder with the labelled slices.")]


def register(app: typer.Typer) -> None:
    """Add the trainer's commands to `hepar`."""
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
    try:
        _train(load_recipe(recipe), data, run, model)
    except (TrainerError, EngineError) as error:
        console.print(f"[red]error:[/] {error}")
        raise typer.Exit(error.exit_code) from error


def _train(recipe: Recipe, data: Path, run: Path, model: Path) -> None:
    cases = read_cases(recipe, data)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps, loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {
            member.network: progress.add_task(member.network, total=member.steps, loss=float("nan"))
            for member in recipe.members
        }

        def report(step: Step) -> None:
            progress.update(tasks[step.member], completed=step.step, loss=step.loss)

        members = train_ensemble(recipe, cases.train, run, report)
    graph = EnsembleGraph(members, recipe.working).eval()
    unknown_mm = recipe.augmentation.unknown_pixel_mm
    figures = compare_fusions(graph, cases.held_out, unknown_mm)
    export_model(members, recipe, _describe(recipe, cases, figures), model)
    _show(figures, f"Held-out patients ({len(cases.split.held_out)})")
    console.print(f"model folder: {model}")


def _describe(recipe: Recipe, cases: Cases, figures: dict[str, Figures]) -> Description:
    return Description(
        recipe=recipe.model_dump(mode="json"),
        data=DATA,
        evaluation=to_evaluation(figures, cases),
        card=to_card(recipe, figures, cases),
        licence=LICENCE,
    )


def evaluate(
    data: DataFolder,
    model: Annotated[Path | None, typer.Option(help="Model folder; the default model.")] = None,
    everyone: Annotated[
        bool, typer.Option("--everyone", help="Also the patients it has learnt from.")
    ] = False,
) -> None:
    """Compare a model with what experts drew in patients it has never seen.

    The model folder runs as the node runs it, slice by slice and without the cleaning in 3-D.
    """
    try:
        opened = load_model(model or default_model_folder())
        recipe = Recipe.model_validate(opened.manifest.recipe)
        cases = read_cases(recipe.model_copy(update={"phantoms": 1}), data)
        slices = cases.train if everyone else cases.held_out
        unknown_mm = recipe.augmentation.unknown_pixel_mm
        figures = evaluate_device(open_device(opened), slices, unknown_mm)
    except (TrainerError, EngineError) as error:
        console.print(f"[red]error:[/] {error}")
        raise typer.Exit(error.exit_code) from error
    _show({f"{opened.name} {opened.version}": figures}, f"{len(figures.liver)} patients")
    _show_patients(figures)


def _show(figures: dict[str, Figures], title: str) -> None:
    table = Table("", "liver Dice", "tumour Dice", "tumour patients", title=title)
    for name, each in figures.items():
        table.add_row(
            name,
            f"{each.pooled_liver:.3f}",
            f"{each.pooled_tumour:.3f}",
            str(each.tumour_patients),
        )
    console.print(table)


def _show_patients(figures: Figures) -> None:
    table = Table("patient", "liver Dice", "tumour Dice", "tumour pixels drawn", "marked")
    for name, liver in figures.liver.items():
        tumour = figures.tumour.get(name)
        shown = ("not drawn", "", "")
        if tumour is not None:
            shown = (f"{tumour.dice:.3f}", str(tumour.true), str(tumour.predicted))
        table.add_row(name, f"{liver.dice:.3f}", *shown)
    console.print(table)
