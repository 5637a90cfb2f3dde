"""`hepar train --folds 5`: cross-validation, and one model of the members of all folds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from trainer.datasets.cases.patient_split import Split, fold_patients
from trainer.ensemble.graph import EnsembleGraph
from trainer.errors import BadRecipe
from trainer.evaluation.metrics.overlap import Figures
from trainer.evaluation.metrics.verdict import mean_dice, merged, verdict
from trainer.evaluation.run.compare_fusions import compare_fusions
from trainer.export.figures import Compared
from trainer.recipe.recipe import Recipe
from trainer.recipe.sections import FusionKind
from trainer.train_command import (
    RECIPE,
    Learnt,
    Ready,
    Run,
    console,
    export_run,
    judge_start,
    learn,
    prepare,
    show,
    working,
)
from trainer.training.ensemble import Cases, split_cases
from trainer.training.machine import is_first
from trainer.training.resume.stops import stops_between_members


@dataclass(frozen=True)
class Fold:
    """What was learnt without the patients of one fold, and how it does on them."""

    recipe: Recipe
    members: Sequence[nn.Module]
    cases: Cases
    figures: Compared
    start: tuple[str, Figures] | None


def train_folds(recipe: Recipe, run: Run, folds: int) -> None:
    """Train every fold, pool the figures of patients held out, and export all members as one model.

    Raises:
        BadData: there are fewer patients than folds; and as `train_model`.
        BadRecipe: the fusion has weights, which folds would not share; and as `train_model`.
    """
    if recipe.staying:
        raise BadRecipe(
            f"{recipe.staying[0]} has no cycles and stays as it is, and has learnt from most of "
            "the patients that folds would hold out: leave --folds out"
        )
    if recipe.fusion.kind == "weighted" and recipe.fusion.weights:
        raise BadRecipe("folds have no common weights: take --set 'fusion.kind=\"mean\"'")
    with stops_between_members():
        ready = prepare(recipe, run)
        parts = fold_patients(ready.slices, folds, recipe.seed, ready.unseen)
        done = [_train(ready, run, number, part) for number, part in enumerate(parts, start=1)]
        if is_first():
            _finish(done, ready, run)


def _train(ready: Ready, run: Run, number: int, held_out: tuple[str, ...]) -> Fold:
    cases = split_cases(ready.recipe, ready.slices, held_out)
    if is_first():
        console.print(
            f"fold {number}: {len(cases.split.train)} patients to train on, "
            f"{len(set(cases.validation.patient))} to validate, {len(held_out)} held out"
        )
    recipe, members = learn(ready, cases, run, run.folder / f"fold-{number}")
    with working(f"fold {number}: looking at the patients held out …"):
        # Weights of the members' own are those of every fold; `best` is chosen of all in the end.
        known = recipe if recipe.fusion.kind == "weighted" else _fused(recipe, "mean")
        graph = EnsembleGraph(members, known).eval()
        unknown_mm = recipe.augmentation.unknown_pixel_mm
        figures = compare_fusions(graph, cases.held_out, unknown_mm)
        return Fold(recipe, members, cases, figures, judge_start(run, cases.held_out, recipe))


def _finish(folds: Sequence[Fold], ready: Ready, run: Run) -> None:
    """Pool, print and export."""
    figures = {name: merged([fold.figures[name] for fold in folds]) for name in folds[0].figures}
    recipe = _of_all(folds, figures)
    (run.folder / RECIPE).write_text(recipe.model_dump_json(indent=2) + "\n")
    kind = recipe.fusion.kind
    before = [fold.start for fold in folds if fold.start]
    start = (before[0][0], merged([each for _, each in before])) if before else None
    judged = tuple(sorted(figures[kind].liver))
    # Every patient was held out once, and learnt from by the other folds.
    everyone = Cases(
        Split(tuple(sorted(set(ready.slices.patient.tolist()))), judged),
        ready.slices,
        ready.slices.of(judged),
        ready.slices.of(()),
    )
    evaluation = {"held_out_patients": [], "folds": [list(f.cases.split.held_out) for f in folds]}
    members = [member for fold in folds for member in fold.members]
    learnt = Learnt(recipe, members, figures, start=start, evaluation=evaluation)
    export_run(learnt, everyone, run)
    show(figures, f"Each patient by the fold that held him out ({len(judged)})")
    if start:
        console.print(f"{verdict(figures[kind], start[1], recipe.name, start[0])}.")
    console.print(f"model folder: {run.model}")


def _of_all(folds: Sequence[Fold], figures: Compared) -> Recipe:
    """Return the recipe of the ensemble of all folds, with its fusion."""
    recipe = folds[0].recipe
    kind = recipe.fusion.kind
    if kind == "best":
        # Each fold has validation patients of its own; all are judged by the patients held out.
        plain: tuple[FusionKind, ...] = ("blumberg", "mean", "majority")
        kind = max(plain, key=lambda name: mean_dice(figures[name]))
    remarks = (
        f"{recipe.remarks} Its members are those of {len(folds)} folds: each figure is that of the "
        "members which had not learnt from the patient, and the model of all of them was measured "
        "on nobody."
    )
    members = recipe.members * len(folds)
    changes = {"members": members, "remarks": remarks.strip()}
    return _fused(recipe.model_copy(update=changes), kind)


def _fused(recipe: Recipe, kind: FusionKind | Literal["best"]) -> Recipe:
    fusion = recipe.fusion.model_copy(update={"kind": kind})
    return recipe.model_copy(update={"fusion": fusion})
