"""`hepar evaluate`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from engine.model import Model, load_model
from trainer.datasets.cases.case import Case
from trainer.ensemble.graph import open_graph
from trainer.errors import BadData
from trainer.evaluation.report.json_record import to_json
from trainer.evaluation.report.terminal_tables import show
from trainer.evaluation.run.devices import open_named
from trainer.evaluation.run.evaluate import Evaluation, evaluate
from trainer.evaluation.run.ground_truth import read_reference, without_tumours
from trainer.evaluation.run.methods import Method, by_others, on_device, side_by_side
from trainer.evaluation.run.patients import (
    Choice,
    PatientCase,
    PatientGroup,
    read_subjects,
    unseen_patients,
)
from trainer.evaluation.run.seg_objects import find_segs
from trainer.option_choices import DeviceName


@dataclass(frozen=True)
class Data:
    """Labelled data: a folder, or one series with what was drawn on it."""

    folder: Path | None
    series: Path | None = None
    truth: Path | None = None
    healthy: bool = False
    whom: PatientGroup = PatientGroup.UNSEEN


@dataclass(frozen=True)
class Marking:
    """Models and devices to evaluate."""

    models: tuple[Path, ...]
    segs: Path | None = None
    device: DeviceName = DeviceName.OPENVINO
    plans: Path = Path()
    fusions: bool = False
    """Every member alone and every fusion, in torch, instead of the model as it is."""


@dataclass(frozen=True)
class Output:
    """Outputs besides the terminal."""

    report: Path | None = None
    record: Path | None = None


def evaluate_command(data: Data, marking: Marking, output: Output, tolerance_mm: float) -> None:
    """Evaluate, show the figures, and write what is asked for.

    Raises:
        EngineError: a model cannot be read or run.
        BadData: there is nothing to compare with.
    """
    console = Console()
    # A folder that is named twice is one model; the order stays, as columns have it.
    models = [load_model(each) for each in dict.fromkeys(marking.models)]
    methods, names = _methods(marking, models)
    with Console(stderr=True).status("") as status:
        result = evaluate(
            _subjects(data, models),
            methods,
            about=_about(data, names, tolerance_mm),
            learnt_from=_learnt_from(models),
            tolerance_mm=tolerance_mm,
            progress=lambda patient: status.update(f"judging {patient} …"),
        )
    show(result, console)
    _write(result, output, console)


def _methods(marking: Marking, models: Sequence[Model]) -> tuple[list[Method], list[str]]:
    methods, names = [], []
    for model, name in zip(models, _names(models), strict=True):
        if marking.fusions:
            methods.append(side_by_side(name, open_graph(model)))
            names.append(f"{name} in torch, members and fusions side by side")
        else:
            device = open_named(marking.device, model, marking.plans)
            methods.append(on_device(name, device))
            names.append(f"{name} on {device.name}")
    if marking.segs is not None:
        found = find_segs(marking.segs)
        methods.append(by_others("SEG objects", found))
        names.append(f"{len(found)} SEG objects in {marking.segs}")
    return methods, names


def _names(models: Sequence[Model]) -> list[str]:
    """Return the names of models, with their folders where names are not unique."""
    short = [f"{each.name} {each.version}" for each in models]
    if len(set(short)) == len(short):
        return short
    return [f"{name} ({each.folder})" for name, each in zip(short, models, strict=True)]


def _subjects(data: Data, models: Sequence[Model]) -> Iterator[PatientCase]:
    if data.series is not None and data.truth is not None:
        case = read_reference(data.series, data.truth)
        return _healthy(iter([PatientCase(case.patient, case)]), data.healthy)
    if data.folder is None:
        raise BadData("name labelled data: --data FOLDER, or --series FOLDER with --truth FILE")
    choice = Choice(data.whom, _held_out(data.whom, models))
    return _healthy(read_subjects(data.folder, choice), data.healthy)


def _healthy(subjects: Iterator[PatientCase], healthy: bool) -> Iterator[PatientCase]:
    """Yield the subjects, with volumes marked as free of tumours if all are healthy."""
    for subject in subjects:
        if healthy and isinstance(subject.images, Case):
            yield PatientCase(subject.patient, without_tumours(subject.images))
        else:
            yield subject


def _held_out(whom: PatientGroup, models: Sequence[Model]) -> frozenset[str]:
    """Return the patients that no model has learnt from.

    Raises:
        BadData: a model does not list them.
    """
    if whom is PatientGroup.EVERYONE:
        return frozenset()
    if not models:
        raise BadData(
            "it is not known which patients the SEG objects' model was trained on: take --all"
        )
    unseen = [unseen_patients(each) for each in models]
    for model, patients in zip(models, unseen, strict=True):
        if not patients:
            raise BadData(f"{model.folder} lists no held-out patients: take --all")
    # Models are compared on patients that none of them has seen.
    return frozenset.intersection(*unseen)


def _about(data: Data, names: Sequence[str], tolerance_mm: float) -> dict[str, str]:
    folder = data.folder or data.series
    whom = f"{data.whom if data.folder else 'one series'}{', healthy livers' * data.healthy}"
    return {
        "Marked by": "; ".join(names),
        "Compared with": f"{folder if data.folder else data.truth}: {whom}",
        "Interval": "95 % percentile bootstrap over patients, 9,999 draws",
        "Surface Dice": f"NSD at a tolerance of {tolerance_mm:g} mm",
    }


def _learnt_from(models: Sequence[Model]) -> dict[str, int]:
    """Return how many patients each model has learnt from, where known."""
    trained = {
        name: model.manifest.evaluation.get("trained_patients")
        for name, model in zip(_names(models), models, strict=True)
    }
    # Models that were exported before this figure was noted have none.
    return {name: each for name, each in trained.items() if isinstance(each, int)}


def _write(result: Evaluation, output: Output, console: Console) -> None:
    if output.record is not None:
        output.record.write_text(to_json(result))
        console.print(f"figures: {output.record}")
    if output.report is not None:
        from trainer.evaluation.report.html_page import (
            to_html,  # matplotlib takes a second to import
        )

        output.report.write_text(to_html(result))
        console.print(f"report: {output.report}")
