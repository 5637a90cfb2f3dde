"""What `hepar train` and `hepar evaluate` do, with what they show meanwhile."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from engine.devices import open_device
from engine.model import load_model
from trainer.evaluation.fusions import compare_fusions
from trainer.evaluation.overlap import Figures
from trainer.evaluation.slicewise import evaluate_device
from trainer.export import Description, export_model
from trainer.graph import EnsembleGraph
from trainer.recipe import Recipe
from trainer.report import DATA, LICENCE, to_card, to_evaluation
from trainer.run import Cases, read_cases, train_ensemble
from trainer.training import Progress as Step

console = Console()


def train_model(recipe: Recipe, data: Path, run: Path, model: Path) -> None:
    """Train what `run` does not hold yet, evaluate it on the held-out patients, and export it.

    Raises:
        BadData: there is nothing to learn from in `data`.
        ParityError: the exported graph answers otherwise; no model folder was written.
    """
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


def evaluate_model(model: Path, data: Path, *, trained: bool) -> None:
    """Run a model folder on slices that experts drew on, and show how well the two agree.

    Raises:
        EngineError: the model cannot be read or run.
        BadData: there is nothing to compare with in `data`.
    """
    opened = load_model(model)
    recipe = Recipe.model_validate(opened.manifest.recipe)
    unseen = opened.manifest.evaluation.get("held_out_patients", ())
    cases = read_cases(recipe.model_copy(update={"phantoms": 1}), data, unseen)
    slices = cases.train if trained else cases.held_out
    unknown_mm = recipe.augmentation.unknown_pixel_mm
    figures = evaluate_device(open_device(opened), slices, unknown_mm)
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
