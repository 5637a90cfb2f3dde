"""What a model marks on the labelled slices of patients: marks one by one, and areas.

A mark is a connected piece of tumour on one slice, measured as the engine measures a lesion in a
series. In a series the clean-up drops what is smaller than a ball of 5 mm; here marks smaller than
a disc of 5 mm are left out.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.device import Answer, Device, neighbours_of
from engine.findings.certainty import lesion_features
from engine.findings.measure import measure, number_lesions
from engine.manifest import LesionFeature
from engine.segmentation.cleaning import SMALLEST_TUMOUR_MM3
from engine.volume import Geometry, Label, LabelMap, Volume
from trainer.datasets.cases.neighbours import upwards
from trainer.datasets.cases.slices import Slices
from trainer.datasets.cases.target import INSIDE, Target
from trainer.ensemble.graph import EnsembleGraph
from trainer.evaluation.metrics.lesion_detection import FOUND_AT
from trainer.evaluation.run.slicewise import Alike, alike

SMALLEST_MM2 = math.pi / 4 * (6 * SMALLEST_TUMOUR_MM3 / math.pi) ** (2 / 3)
"""Area of the disc through the centre of the smallest ball that the clean-up keeps."""


@dataclass(frozen=True)
class Mark:
    """One mark on a slice whose tumours were drawn."""

    patient: str
    features: Mapping[LesionFeature, float]
    is_tumour: bool
    """Whether drawn tumour covers at least `FOUND_AT` of it."""


@dataclass(frozen=True)
class Area:
    """Area of a structure, summed over the slices of a patient on which it was drawn."""

    marked_mm2: float
    drawn_mm2: float
    both_mm2: float = 0.0

    def __add__(self, other: "Area") -> "Area":
        return Area(
            self.marked_mm2 + other.marked_mm2,
            self.drawn_mm2 + other.drawn_mm2,
            self.both_mm2 + other.both_mm2,
        )

    @property
    def dice(self) -> float:
        """Dice of what is marked and what is drawn; nan where there is neither."""
        area = self.marked_mm2 + self.drawn_mm2
        return 2 * self.both_mm2 / area if area else math.nan


@dataclass(frozen=True)
class Observations:
    """What was marked and what was drawn in some patients."""

    marks: tuple[Mark, ...]
    liver: Mapping[str, Area]
    """By patient; the liver with its tumours."""
    tumour: Mapping[str, Area]
    agreement: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """(2, 2) by patient, as in `Answer.agreement`, summed over his slices."""

    def marked_tumour(self, patient: str) -> bool:
        """Whether a tumour is marked in a patient, on slices where tumours were drawn."""
        area = self.tumour.get(patient)
        return area is not None and area.marked_mm2 > 0


@dataclass(frozen=True, eq=False)
class AnsweredSlice:
    """One slice, what was drawn on it, and the model's answer."""

    patient: str
    hu: NDArray[np.int16]
    """(rows, columns)."""
    target: NDArray[np.uint8]
    """Values of `Target`."""
    labels: NDArray[np.uint8]
    """Values of `Label`."""
    agreement: NDArray[np.float32]
    """(2, 2), as in `Answer.agreement`."""
    pixel_mm: float


Answering = Callable[[Alike], Answer]
"""Returns a model's answer to slices, each with its neighbours."""


def on_graph(graph: EnsembleGraph) -> Answering:
    """Return the answers of a model that is being trained."""

    def answer(part: Alike) -> Answer:
        with torch.inference_mode():
            spacing = torch.tensor([part.pixel_mm, part.pixel_mm])
            labels, agreement = graph(torch.from_numpy(part.hu), spacing)
        return Answer(labels.numpy(), agreement.numpy())

    return answer


def on_device(device: Device) -> Answering:
    """Return the answers of a device with a model on it."""
    neighbours = neighbours_of(device)

    def answer(part: Alike) -> Answer:
        spacing_mm = part.pixel_mm, part.pixel_mm
        if not neighbours:
            return device.run(part.hu, spacing_mm)
        # Each slice with its own neighbours, from the lowest on; it is the middle one.
        order = upwards(neighbours)
        found = [device.run(stack[order], spacing_mm) for stack in part.hu]
        labels = np.stack([each.labels[neighbours] for each in found])
        return Answer(labels, np.stack([each.agreement[neighbours] for each in found]))

    return answer


def observe(
    answer: Answering, neighbours: int, slices: Slices, unknown_pixel_mm: float
) -> Observations:
    """Return what a model marks on slices.

    Args:
        answer: of the model.
        neighbours: slices on each side that an answer depends on.
        slices: of patients that no member learnt from.
        unknown_pixel_mm: assumed where a slice has lost its spacing.
    """
    return collect(
        AnsweredSlice(part.patient, *arrays, part.pixel_mm)
        for part in alike(slices, unknown_pixel_mm, neighbours)
        for arrays in _each(part, answer(part))
    )


def collect(slices: Iterable[AnsweredSlice]) -> Observations:
    """Return the marks and areas of slices."""
    marks: list[Mark] = []
    liver: dict[str, Area] = {}
    tumour: dict[str, Area] = {}
    agreement: dict[str, NDArray[np.float64]] = {}
    for each in slices:
        # double: sums of float32 are exact up to 2**24 only.
        counts = each.agreement.astype(np.float64)
        agreement[each.patient] = agreement.get(each.patient, np.zeros((2, 2))) + counts
        known = each.target != Target.UNKNOWN
        if not np.any(each.target == Target.NO_TUMOUR):
            drawn = np.isin(each.target, INSIDE)
            _add(liver, each, (each.labels > 0) & known, drawn)
        if not np.any(each.target == Target.LIVER_OR_TUMOUR):
            drawn = each.target == Target.TUMOUR
            _add(tumour, each, (each.labels == Label.TUMOUR) & known, drawn)
            marks += _marks(each, known)
    return Observations(tuple(marks), liver, tumour, agreement)


def _each(part: Alike, answer: Answer) -> Iterator[tuple[Any, Any, Any, Any]]:
    arrays = part.slices.hu, part.slices.target, answer.labels, answer.agreement
    return zip(*arrays, strict=True)


def _add(
    areas: dict[str, Area],
    shown: AnsweredSlice,
    marked: NDArray[np.bool_],
    drawn: NDArray[np.bool_],
) -> None:
    masks = (marked, drawn, marked & drawn)
    pixels = (int(np.count_nonzero(each)) * shown.pixel_mm**2 for each in masks)
    areas[shown.patient] = areas.get(shown.patient, Area(0, 0)) + Area(*pixels)


def _marks(shown: AnsweredSlice, known: NDArray[np.bool_]) -> Iterator[Mark]:
    if not np.any(shown.labels == Label.TUMOUR):
        return
    volume, found = _as_volume(shown)
    numbers = number_lesions(found)[0]
    for lesion in measure(volume, found).lesions:
        mask = numbers == lesion.number
        large = np.count_nonzero(mask) * shown.pixel_mm**2 >= SMALLEST_MM2
        if large and known[mask].all():
            covered = float(np.mean(shown.target[mask] == Target.TUMOUR))
            features = lesion_features(lesion, shown.agreement[None])
            yield Mark(shown.patient, features, covered >= FOUND_AT)


def _as_volume(shown: AnsweredSlice) -> tuple[Volume, LabelMap]:
    """Return the slice as a volume of one slice; its thickness has no part in any feature."""
    mm = shown.pixel_mm
    affine = np.array([[0, 0, mm, 0], [0, mm, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], np.float64)
    geometry = Geometry((1, *shown.hu.shape), affine, "slice")
    return Volume(shown.hu[None], geometry), LabelMap(shown.labels[None], geometry)
