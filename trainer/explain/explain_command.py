"""`hepar explain`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rich.console import Console

from engine.model import Model, load_model
from engine.segmentation.segment import segment
from engine.serving.cpu import open_device
from trainer.datasets.cases.case import Case
from trainer.datasets.cases.target import Target
from trainer.ensemble.graph import open_graph
from trainer.errors import BadData
from trainer.evaluation.run.ground_truth import read_images, read_reference
from trainer.evaluation.run.patients import (
    Choice,
    PatientCase,
    PatientGroup,
    read_subjects,
    unseen_patients,
)
from trainer.explain.insight import look
from trainer.explain.page import to_html
from trainer.explain.views import View, of_case, of_slices, of_volume

PAGE = "explanation.html"
PATIENTS = 2
"""Default patients of labelled data; those with tumours first."""


@dataclass(frozen=True)
class Wanted:
    """Slices and structures to explain."""

    data: Path | None = None
    patients: tuple[str, ...] = ()
    series: Path | None = None
    truth: Path | None = None
    slices: tuple[int, ...] = ()
    """Counted from 0, from the feet in a volume; the most telling ones if none."""


def explain_command(folder: Path, wanted: Wanted, output: Path) -> None:
    """Look into a model and write what is seen as a page.

    Raises:
        EngineError: the model cannot be read or run.
        BadModel: torch cannot rebuild the model's graph.
        BadData: there is nothing to look at.
    """
    model = load_model(folder)
    graph = open_graph(model)
    output.mkdir(parents=True, exist_ok=True)
    insights = []
    with Console(stderr=True).status("") as status:
        for view in _views(wanted, model):
            status.update(f"looking at {view.title} …")
            insights.append(look(graph, view))
        status.update("drawing …")
        (output / PAGE).write_text(to_html(model, insights))
    Console().print(f"{len(insights)} slices: {output / PAGE}", markup=False, highlight=False)


def _views(wanted: Wanted, model: Model) -> Iterator[View]:
    if wanted.series is not None and wanted.truth is not None:
        case = read_reference(wanted.series, wanted.truth)
        return of_case(case, wanted.slices, model.neighbours)
    if wanted.series is not None:
        return _of_series(wanted.series, model, wanted.slices)
    if wanted.data is None:
        raise BadData("name what to look at: --data FOLDER, or --series FOLDER")
    return _of_data(wanted.data, wanted, model)


def _of_series(folder: Path, model: Model, indices: Sequence[int]) -> Iterator[View]:
    """Yield slices of an unlabelled series, chosen by the model's result."""
    volume, _ = read_images(folder)
    found = segment(volume, open_device(model)).label_map.labels
    yield from of_volume(folder.resolve().name, volume, found, indices, model.neighbours)


def _of_data(folder: Path, wanted: Wanted, model: Model) -> Iterator[View]:
    named = frozenset(wanted.patients)
    for subject in chosen_subjects(folder, named, unseen_patients(model)):
        if isinstance(subject.images, Case):
            yield from of_case(subject.images, wanted.slices, model.neighbours)
        else:
            yield from of_slices(subject.images, wanted.slices)


def chosen_subjects(
    folder: Path, named: frozenset[str], unseen: frozenset[str]
) -> Sequence[PatientCase]:
    """Return the named patients; without names a few unseen ones, or any if all were seen.

    Raises:
        BadData: there is no patient, or none of that name.
    """
    if named:
        return list(read_subjects(folder, Choice(PatientGroup.NAMED, named)))
    try:
        return _first(read_subjects(folder, Choice(PatientGroup.UNSEEN, unseen)))
    except BadData:  # another group's model has nobody unseen here; all of them are
        return _first(read_subjects(folder, Choice(PatientGroup.EVERYONE, unseen)))


def _first(subjects: Iterator[PatientCase]) -> list[PatientCase]:
    """Return the first patients with tumours, or the first of all."""
    others: list[PatientCase] = []

    def with_tumours() -> Iterator[PatientCase]:
        for subject in subjects:
            if (subject.images.target == Target.TUMOUR).any():
                yield subject
            # A few are kept, as whole volumes are large, for data in which nobody has a tumour.
            elif len(others) < PATIENTS:
                others.append(subject)

    return list(islice(with_tumours(), PATIENTS)) or others
