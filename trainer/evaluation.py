"""How well labels overlap with what experts drew, per patient and pooled."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.devices import Device
from engine.volume import Label
from trainer.fusion import FUSIONS
from trainer.graph import EnsembleGraph, labels
from trainer.slices import Slices, Target

BATCH = 8


@dataclass(frozen=True)
class Overlap:
    """Pixels marked by both, by the prediction, by the expert."""

    both: int
    predicted: int
    true: int

    def __add__(self, other: "Overlap") -> "Overlap":
        return Overlap(
            self.both + other.both, self.predicted + other.predicted, self.true + other.true
        )

    @property
    def dice(self) -> float:
        """Dice similarity coefficient; nan where neither marks anything."""
        whole = self.predicted + self.true
        return 2 * self.both / whole if whole else float("nan")


NOTHING = Overlap(0, 0, 0)


@dataclass(frozen=True)
class Figures:
    """One prediction's overlap with the experts, per patient."""

    liver: Mapping[str, Overlap]
    """The liver with its tumours, as LiTS counts it."""
    tumour: Mapping[str, Overlap]
    """Patients whose tumours were drawn, or looked for and not found."""

    @property
    def pooled_liver(self) -> float:
        """Dice over all pixels of all patients."""
        return sum(self.liver.values(), NOTHING).dice

    @property
    def pooled_tumour(self) -> float:
        """Likewise of the tumours."""
        return sum(self.tumour.values(), NOTHING).dice

    @property
    def tumour_patients(self) -> int:
        """How many patients with drawn tumours the tumour figures rest on."""
        return sum(overlap.true > 0 for overlap in self.tumour.values())


class Tally:
    """Counts overlaps slice by slice."""

    def __init__(self) -> None:
        self.liver: dict[str, Overlap] = {}
        self.tumour: dict[str, Overlap] = {}

    def add(self, patient: str, found: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
        """Count slices of one patient; where tumours were not drawn, the liver alone."""
        inside = (target > 0) & (target != Target.UNKNOWN)
        overlap = _overlap(found > 0, inside)
        self.liver[patient] = self.liver.get(patient, NOTHING) + overlap
        drawn = ~np.any(target == Target.LIVER_OR_TUMOUR, axis=(1, 2))
        if drawn.any():
            overlap = _overlap(found[drawn] == Label.TUMOUR, target[drawn] == Target.TUMOUR)
            self.tumour[patient] = self.tumour.get(patient, NOTHING) + overlap

    def figures(self) -> Figures:
        """Return what was counted so far."""
        return Figures(self.liver, self.tumour)


def evaluate_device(device: Device, slices: Slices, unknown_pixel_mm: float) -> Figures:
    """Compare what a device answers with what experts drew, slice by slice, uncleaned."""
    tally = Tally()
    for patient, spacing_mm, part in _batches(slices, unknown_pixel_mm):
        answer = device.run(part.hu.astype(np.float16), (spacing_mm, spacing_mm))
        tally.add(patient, answer.labels, part.target)
    return tally.figures()


def compare_fusions(
    graph: EnsembleGraph, slices: Slices, unknown_pixel_mm: float
) -> dict[str, Figures]:
    """Evaluate each member alone and every fusion of them, side by side, in torch."""
    tallies: dict[str, Tally] = {}
    for patient, spacing_mm, part in _batches(slices, unknown_pixel_mm):
        with torch.inference_mode():
            spacing = torch.tensor([spacing_mm, spacing_mm])
            marks, _ = graph.marks(torch.from_numpy(part.hu).half(), spacing)
            for name, found in _variants(graph, marks):
                tally = tallies.setdefault(name, Tally())
                tally.add(patient, found.numpy(), part.target)
    return {name: tally.figures() for name, tally in tallies.items()}


def _variants(graph: EnsembleGraph, marks: Tensor) -> Iterator[tuple[str, Tensor]]:
    for index, member in enumerate(graph.members):
        yield type(member).__name__.lower(), labels(marks[index : index + 1], FUSIONS["mean"])
    for name, fuse in FUSIONS.items():
        yield name, labels(marks, fuse)


def _batches(slices: Slices, unknown_pixel_mm: float) -> Iterator[tuple[str, float, Slices]]:
    """Yield each patient's slices of one pixel spacing, a few at a time."""
    spacing = np.where(np.isnan(slices.pixel_mm), unknown_pixel_mm, slices.pixel_mm)
    for patient in np.unique(slices.patient):
        for spacing_mm in np.unique(spacing[slices.patient == patient]):
            alike = np.flatnonzero((slices.patient == patient) & (spacing == spacing_mm))
            for start in range(0, len(alike), BATCH):
                yield str(patient), float(spacing_mm), slices[alike[start : start + BATCH]]


def _overlap(predicted: NDArray[np.bool_], true: NDArray[np.bool_]) -> Overlap:
    return Overlap(
        int(np.count_nonzero(predicted & true)),
        int(np.count_nonzero(predicted)),
        int(np.count_nonzero(true)),
    )
