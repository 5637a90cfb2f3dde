"""What `hepar train` does, with what it shows meanwhile."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from trainer.evaluation.fusions import compare_fusions
from trainer.evaluation.overlap import Figures
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
