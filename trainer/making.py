"""What `hepar train` does: from a recipe and labelled data to a model folder."""

from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from trainer.choosing import choose_fusion, mean_dice
from trainer.datasets.reading import read_slices
from trainer.evaluation.fusions import compare_fusions
from trainer.evaluation.overlap import Figures
from trainer.export import Description, export_model
from trainer.graph import EnsembleGraph
from trainer.recipe import Recipe
from trainer.report import DATA, LICENCE, to_card, to_evaluation
from trainer.run import Cases, narrow, read_cases, train_ensemble
from trainer.training import Machine

console = Console()

RECIPE = "recipe.json"
"""In the run's folder: the recipe as it was carried out."""


@dataclass(frozen=True)
class Run:
    """Where a run takes from, and where it leaves what it makes."""

    data: Path
    folder: Path
    model: Path
    machine: Machine = field(default_factory=Machine)


def train_model(recipe: Recipe, run: Run) -> None:
    """Train what the run does not hold yet, choose a fusion, look at the held-out patients, export.

    Raises:
        BadData: there is nothing to learn from in the data.
        ParityError: the exported graph answers otherwise; no model folder was written.
    """
    recipe, cases = _ready(recipe, run.data)
    members = train_ensemble(recipe, cases, run.folder, run.machine)
    graph = EnsembleGraph(members, recipe).eval()
    recipe = _with_fusion(recipe, graph, cases)
    (run.folder / RECIPE).write_text(recipe.model_dump_json(indent=2) + "\n")
    unknown_mm = recipe.augmentation.unknown_pixel_mm
    figures = compare_fusions(graph, cases.held_out, unknown_mm)
    export_model(members, recipe, _describe(recipe, cases, figures), run.model)
    _show(figures, f"Held-out patients ({len(cases.split.held_out)})")
    console.print(f"model folder: {run.model}")


def _ready(recipe: Recipe, data: Path) -> tuple[Recipe, Cases]:
    """Return the recipe as this data allows it, and the data as the recipe splits it."""
    narrowed = narrow(recipe, read_slices(data))
    if narrowed != recipe:
        console.print(
            f"the slices keep {narrowed.working.clip_hu[0]:g} to {narrowed.working.clip_hu[1]:g} "
            "HU only: the recipe's bounds are narrowed to these"
        )
    return narrowed, read_cases(narrowed, data)


def _with_fusion(recipe: Recipe, graph: EnsembleGraph, cases: Cases) -> Recipe:
    """Return the recipe with the fusion that it is to have, chosen where it asks for the best."""
    if recipe.fusion.kind != "best":
        return recipe
    fallback = recipe.fusion.model_copy(update={"kind": "mean"})
    chosen = fallback
    if len(recipe.members) > 1 and len(cases.validation):
        chosen, figures = choose_fusion(graph, recipe, cases.validation)
        _show(figures, f"Validation patients ({len(set(cases.validation.patient))})")
        console.print(f"fusion: {chosen.kind}")
    graph.fusing = chosen
    return recipe.model_copy(update={"fusion": chosen})


def _describe(recipe: Recipe, cases: Cases, figures: dict[str, Figures]) -> Description:
    return Description(
        recipe=recipe.model_dump(mode="json"),
        data=DATA,
        evaluation=to_evaluation(figures, cases, recipe.fusion.kind),
        card=to_card(recipe, figures, cases),
        licence=LICENCE,
    )


def _show(figures: dict[str, Figures], title: str) -> None:
    columns = ("liver Dice", "tumour Dice", "per patient", "per patient", "tumour patients")
    table = Table("", *columns, title=title)
    for name, each in figures.items():
        values = (
            each.pooled_liver,
            each.pooled_tumour,
            mean_dice(each.liver),
            mean_dice(each.tumour),
        )
        table.add_row(name, *(f"{value:.3f}" for value in values), str(each.tumour_patients))
    console.print(table)
