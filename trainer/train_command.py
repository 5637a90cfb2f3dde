"""`hepar train`: from a recipe and labelled data to a model folder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from trainer.ensemble.graph import EnsembleGraph
from trainer.errors import BadData
from trainer.evaluation.run.compare_fusions import compare_fusions
from trainer.export.data_licences import licence_of, sources_of
from trainer.export.figures import COLUMNS, Compared, to_evaluation, to_row
from trainer.export.model_card import to_card
from trainer.export.model_folder import Description, export_model
from trainer.recipe.recipe import Recipe
from trainer.training.distillation import Teacher, teacher_for
from trainer.training.ensemble import Cases, narrow, slices_for, split_cases, train_ensemble
from trainer.training.fusion_choice import choose_fusion
from trainer.training.loop import Machine, is_first
from trainer.training.warm_start import WarmStart, start_from

console = Console()

RECIPE = "recipe.json"
"""In the run's folder: the recipe as it was carried out."""


@dataclass(frozen=True)
class Run:
    """Inputs and outputs of a run."""

    data: Path
    folder: Path
    model: Path
    machine: Machine = field(default_factory=Machine)
    start: Path | None = None
    """Model folder whose weights the members start from; random weights if left out."""
    teacher: Path | None = None
    """Model folder whose probabilities the members learn from too, if the recipe has `distil`."""


def train_model(recipe: Recipe, run: Run) -> None:
    """Train what the run does not hold yet, choose a fusion, look at the held-out patients, export.

    Raises:
        BadData: there is nothing to train on in the data.
        BadModel: the model to start from holds other networks, or the teacher sees other pixels.
        BadRecipe: the recipe needs a teacher and none is named, or the other way round.
        ParityError: the exported graph answers otherwise; no model folder was written.
    """
    # All that can be refused is looked at before the hours of training.
    start = start_from(run.start, recipe) if run.start else None
    teacher = teacher_for(recipe, run.teacher)
    recipe, cases = _ready(recipe, run.data, start, teacher)
    members = train_ensemble(recipe, cases, run.folder, run.machine, start, teacher)
    # Of several processes one writes; all of them trained, and hold the same weights.
    if not is_first():
        return
    graph = EnsembleGraph(members, recipe).eval()
    # By the validation patients; the held-out ones, below, choose nothing.
    recipe, validated = _with_fusion(recipe, graph, cases)
    (run.folder / RECIPE).write_text(recipe.model_dump_json(indent=2) + "\n")
    figures = compare_fusions(graph, cases.held_out, recipe.augmentation.unknown_pixel_mm)
    data = sources_of(run.data)
    description = Description(
        recipe=recipe.model_dump(mode="json"),
        data=data,
        evaluation=to_evaluation(figures, cases, recipe.fusion.kind),
        card=to_card(recipe, figures, validated, cases, data),
        licence=licence_of(data),
    )
    with console.status("writing the model folder, and asking every device whether it agrees …"):
        export_model(members, recipe, description, run.model)
    _show(figures, f"Held-out patients ({len(cases.split.held_out)})")
    console.print(f"model folder: {run.model}")


def _ready(
    recipe: Recipe, data: Path, start: WarmStart | None, teacher: Teacher | None
) -> tuple[Recipe, Cases]:
    """Return the recipe as this data allows it, and the data as the recipe splits it.

    Patients whom neither the model at the start nor the teacher has seen stay unseen, and are all
    who do.
    """
    with console.status(f"reading {data} …") as status:
        slices = slices_for(recipe, data, lambda name: status.update(f"reading {name} …"))
    narrowed = narrow(recipe, slices)
    if narrowed != recipe:
        _print(
            f"the slices keep {narrowed.working.clip_hu[0]:g} to {narrowed.working.clip_hu[1]:g} "
            "HU only: the recipe's bounds are narrowed to these"
        )
    models = [each for each in (start, teacher) if each is not None]
    unseen = _unseen_by(models, slices.patient.tolist())
    cases = split_cases(narrowed, slices, unseen)
    _require_enough(narrowed, cases)
    for each in models:
        narrowed = each.with_remark(narrowed)
    return narrowed, cases


def _unseen_by(models: Sequence[WarmStart | Teacher], patients: Sequence[str]) -> tuple[str, ...]:
    """Return those of the patients whom no model has learnt from; none without a model."""
    held_out = [set(each.held_out_of(patients)) for each in models]
    return tuple(sorted(set.intersection(*held_out))) if held_out else ()


def _require_enough(recipe: Recipe, cases: Cases) -> None:
    """Print the sizes of the split, and refuse what would fail at the end of the training."""
    split, validating = cases.split, len(set(cases.validation.patient))
    if not split.held_out:
        raise BadData(
            f"{len(split.train)} patient that can be held out is too few: it takes two, one to "
            "train on and one to evaluate, each with slices that were labelled everywhere"
        )
    if not split.train:
        raise BadData(
            f"all {len(split.held_out)} patients are held out, because the model to start from or "
            "the teacher was not trained on them: give others beside them, or leave --start and "
            "--teacher out"
        )
    _print(
        f"patients to train on: {len(split.train)} ({len(cases.train)} slices); "
        f"to validate: {validating}; held out: {len(split.held_out)}"
    )
    schedule = recipe.schedule
    if not validating and schedule.rate == "plateau":
        raise BadData(
            "no validation patients, which the rate 'plateau' needs: add patients, or "
            "--set validation=…, or --set 'schedule.rate=\"constant\"'"
        )
    if not validating and schedule.stop_patience:
        most = max(member.steps for member in recipe.members)
        _print(f"no validation patients, so no member stops early: up to {most} steps each")


def _print(text: str) -> None:
    if is_first():
        console.print(text, markup=False, highlight=False)


def _with_fusion(recipe: Recipe, graph: EnsembleGraph, cases: Cases) -> tuple[Recipe, Compared]:
    """Return the recipe with the fusion that it is to have, and how it was chosen, if it was."""
    chosen = recipe.fusion
    figures: Compared = {}
    if chosen.kind == "best":
        chosen = chosen.model_copy(update={"kind": "mean"})
        # One member has nothing to fuse, and every fusion gives the same.
        if len(recipe.members) > 1 and len(cases.validation):
            chosen, figures = choose_fusion(graph, recipe, cases.validation)
            _show(figures, f"Validation patients ({len(set(cases.validation.patient))})")
            console.print(f"fusion: {chosen.kind}")
    graph.fusing = chosen
    return recipe.model_copy(update={"fusion": chosen}), figures


def _show(figures: Compared, title: str) -> None:
    table = Table("Dice", *COLUMNS, "tumour patients", title=title)
    for name, each in figures.items():
        table.add_row(name, *to_row(each), str(each.tumour_patients))
    console.print(table)
