"""`hepar train`: from a recipe and labelled data to a model folder."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import nn

from engine.manifest import LEARNT_PATIENTS, Domain
from engine.model import load_model
from trainer.calibration.calibrate import calibrate
from trainer.calibration.observations import observe, on_graph
from trainer.datasets.cases.slices import Slices
from trainer.ensemble.graph import EnsembleGraph, open_graph
from trainer.errors import BadData, BadRecipe
from trainer.evaluation.metrics.overlap import Figures
from trainer.evaluation.metrics.verdict import verdict
from trainer.evaluation.run.compare_fusions import compare_fusions
from trainer.export.data_licences import licence_of, sources_of
from trainer.export.figures import COLUMNS, Compared, to_evaluation, to_row
from trainer.export.learnt_domain import learnt_domain
from trainer.export.model_card import to_card
from trainer.export.model_folder import Description, export_model
from trainer.recipe.recipe import Recipe
from trainer.training.by_clock.budget import Budget
from trainer.training.by_clock.timed_run import plan_run
from trainer.training.distillation import Teacher, teacher_for
from trainer.training.ensemble import Cases, narrow, slices_for, split_cases, train_ensemble
from trainer.training.fusion_choice import choose_fusion
from trainer.training.machine import Machine, is_first
from trainer.training.resume.begun import begun, require_same_run
from trainer.training.resume.stops import stops_between_members
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
    most: int | None = None
    """Volumes, and patients of packed slices, that are read; all if None."""
    budget: Budget | None = None
    """Time by which the model folder is to be there; None: the recipe's steps, however long."""


def train_model(recipe: Recipe, run: Run) -> None:
    """Train what the run does not hold yet, choose a fusion, look at the held-out patients, export.

    Raises:
        BadData: there is nothing to train on in the data.
        BadModel: the model to start from holds other networks, or the teacher sees other pixels.
        BadRecipe: the recipe needs a teacher and none is named, or the other way round.
        ParityError: the exported graph answers otherwise; no model folder was written.
        OtherRun: the run's folder was begun with another recipe, model or data.
        Interrupted: Ctrl-C; the same call goes on.
        NotWritten: the disk is full.
    """
    with stops_between_members():
        _train_model(recipe, run)


def _train_model(recipe: Recipe, run: Run) -> None:
    # All that can be refused is looked at before the hours of training.
    ready = prepare(recipe, run)
    cases = split_cases(ready.recipe, ready.slices, ready.unseen)
    _require_enough(ready.recipe, cases)
    recipe, members = learn(ready, cases, run, run.folder)
    # Of several processes one writes; all of them trained, and hold the same weights.
    if not is_first():
        return
    with working("choosing the fusion, and looking at the held-out patients …"):
        graph = EnsembleGraph(members, recipe).eval()
        # By the validation patients; the held-out ones, below, choose nothing.
        recipe, validated = _with_fusion(recipe, graph, cases)
        (run.folder / RECIPE).write_text(recipe.model_dump_json(indent=2) + "\n")
        figures = compare_fusions(graph, cases.held_out, recipe.augmentation.unknown_pixel_mm)
        judged = judge_start(run, cases.held_out, recipe)
    export_run(Learnt(recipe, members, figures, validated, judged), cases, run)
    show(figures, f"Held-out patients ({len(cases.split.held_out)})")
    if judged:
        _print(verdict(figures[recipe.fusion.kind], judged[1], recipe.name, judged[0]) + ".")
    console.print(f"model folder: {run.model}")


@dataclass(frozen=True)
class Ready:
    """All that a training needs, read and found to fit together."""

    recipe: Recipe
    """As the data allow it."""
    slices: Slices
    start: WarmStart | None
    teacher: Teacher | None
    unseen: tuple[str, ...]
    """Patients whom the models named have not learnt from; empty without a model."""


@dataclass(frozen=True)
class Learnt:
    """What a training came to."""

    recipe: Recipe
    members: Sequence[nn.Module]
    figures: Compared
    """Of patients whom nothing was learnt from."""
    validated: Compared = field(default_factory=dict)
    """Of the patients by whom the fusion was chosen, if it was."""
    start: tuple[str, Figures] | None = None
    """Title of the model at the start, and its figures on the same patients."""
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    """Further figures for the manifest, in place of those of its own."""


def prepare(recipe: Recipe, run: Run) -> Ready:
    """Read the data and the models of a run.

    Raises:
        BadData, BadModel, BadRecipe: as `train_model`.
    """
    _require_start(recipe, run)
    start = start_from(run.start, recipe) if run.start else None
    teacher = teacher_for(recipe, run.teacher)
    with console.status(f"reading {run.data} …") as status:
        slices = slices_for(
            recipe, run.data, lambda name: status.update(f"reading {name} …"), run.most
        )
    narrowed = narrow(recipe, slices)
    if narrowed != recipe:
        _print(
            f"the slices keep {narrowed.working.clip_hu[0]:g} to {narrowed.working.clip_hu[1]:g} "
            "HU only: the recipe's bounds are narrowed to these"
        )
    # What was measured of the recipe that ships is not true of what is learnt here.
    narrowed = narrowed.model_copy(update={"measured": None})
    models = [each for each in (start, teacher) if each is not None]
    return Ready(narrowed, slices, start, teacher, _unseen_by(models, slices.patient.tolist()))


def _require_start(recipe: Recipe, run: Run) -> None:
    """Refuse members without cycles where no model has them, or a time is to be shared out."""
    if run.start is None and any(member.way < 1 for member in recipe.members):
        raise BadRecipe(
            "members.way is part of the way from the model of --start, and none is named: add "
            "--start, or leave it out"
        )
    if not recipe.staying:
        return
    if run.start is None:
        raise BadRecipe(
            f"{recipe.staying[0]} of recipe {recipe.name!r} has no cycles, so it stays as a model "
            "has it, and none is named: add --start with a model folder or a name, such as base"
        )
    if run.budget:
        raise BadRecipe(
            f"--minutes shares the time out among all members, and {recipe.staying[0]} of recipe "
            f"{recipe.name!r} has no cycles: leave the option out, or --set members"
        )


def learn(ready: Ready, cases: Cases, run: Run, folder: Path) -> tuple[Recipe, Sequence[nn.Module]]:
    """Train what `folder` does not hold yet; return the recipe with its remarks, and the members.

    Raises:
        OtherRun: the folder was begun with another recipe, model or data.
        BadRecipe, BadMachine: the time is too short, or shared by several devices.
    """
    recipe = ready.recipe
    models = {"--start": ready.start, "--teacher": ready.teacher}
    for each in models.values():
        recipe = each.with_remark(recipe) if each is not None else recipe
    titles = {option: each.title for option, each in models.items() if each is not None}
    machine, watches = run.machine, None
    if run.budget:
        machine = replace(machine, devices=1)
        with working("measuring this machine …"):
            judged = 2 if ready.start else 1
            timed = plan_run(recipe, cases, folder, run.machine, run.budget, ready.teacher, judged)
        _print(timed.remark)
        recipe, watches = timed.recipe, [[each] for each in timed.deadlines]
    require_same_run(folder, begun(recipe, titles, cases.train, cases.validation))
    return recipe, train_ensemble(
        recipe, cases, folder, machine, ready.start, ready.teacher, watches
    )


def judge_start(run: Run, held_out: Slices, recipe: Recipe) -> tuple[str, Figures] | None:
    """Return the title and the figures of the model at the start, by its own fusion."""
    if run.start is None:
        return None
    model = load_model(run.start)
    graph = open_graph(model).eval()
    figures = compare_fusions(graph, held_out, recipe.augmentation.unknown_pixel_mm)
    return f"{model.name} {model.version}", figures[graph.fusing.kind]


def export_run(learnt: Learnt, cases: Cases, run: Run) -> None:
    """Write the model folder of what was learnt.

    Raises:
        ParityError: the exported graph answers otherwise; no model folder was written.
    """
    recipe, figures = learnt.recipe, learnt.figures
    if learnt.start:
        title, before = learnt.start
        sentence = verdict(figures[recipe.fusion.kind], before, recipe.name, title)
        remarks = f"{recipe.remarks} {sentence}.".strip()
        recipe = recipe.model_copy(update={"remarks": remarks})
    data = sources_of(run.data)
    learnt_from = learnt_domain(cases.train, cases.split.train, recipe.working.clip_hu)
    models = [load_model(folder) for folder in (run.start, run.teacher) if folder]
    evaluation = to_evaluation(figures, cases, recipe.fusion.kind, models)
    unseen = frozenset(cases.split.held_out).difference(evaluation[LEARNT_PATIENTS])
    with working("measuring how certain results are …"):
        graph = EnsembleGraph(learnt.members, recipe).eval()
        seen_by_none = cases.held_out.of(unseen)
        unknown_mm, neighbours = recipe.augmentation.unknown_pixel_mm, recipe.working.neighbours
        observed = observe(on_graph(graph), neighbours, seen_by_none, unknown_mm)
        calibrated = calibrate(observed, len(recipe.members), unseen)
    description = Description(
        recipe=recipe.model_dump(mode="json"),
        data=data,
        evaluation={**evaluation, **learnt.evaluation, **calibrated.evaluation},
        card=to_card(recipe, figures, learnt.validated, cases, data),
        licence=licence_of(data),
        domain=learnt_from if isinstance(learnt_from, Domain) else None,
        calibration=calibrated.calibration,
        left_out={
            **({"domain": learnt_from} if isinstance(learnt_from, str) else {}),
            **calibrated.left_out,
        },
    )
    with working("writing the model folder, and asking every device whether it agrees …"):
        export_model(learnt.members, recipe, description, run.model)


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


@contextmanager
def working(text: str) -> Iterator[None]:
    """Note what goes on in silence: as a spinner, or as a line where there is no terminal."""
    if console.is_terminal:
        with console.status(text):
            yield
    else:
        _print(text)
        yield


def _print(text: str) -> None:
    if is_first():
        console.print(text, markup=False, highlight=False)


def _with_fusion(recipe: Recipe, graph: EnsembleGraph, cases: Cases) -> tuple[Recipe, Compared]:
    """Return the recipe with the fusion that it is to have, and how it was chosen, if it was."""
    chosen = recipe.fused
    figures: Compared = {}
    if chosen.kind == "best":
        chosen = chosen.model_copy(update={"kind": "mean"})
        # One member has nothing to fuse, and every fusion gives the same.
        if len(recipe.members) > 1 and len(cases.validation):
            chosen, figures = choose_fusion(graph, recipe, cases.validation)
            show(figures, f"Validation patients ({len(set(cases.validation.patient))})")
            console.print(f"fusion: {chosen.kind}")
    graph.fusing = chosen
    return recipe.model_copy(update={"fusion": chosen}), figures


def show(figures: Compared, title: str) -> None:
    """Print the Dice of members and fusions."""
    table = Table("Dice", *COLUMNS, "tumour patients", title=title)
    for name, each in figures.items():
        table.add_row(name, *to_row(each), str(each.tumour_patients))
    console.print(table)
