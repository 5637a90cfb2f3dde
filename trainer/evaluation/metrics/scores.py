"""The figures of one patient, by the names of Metrics Reloaded (doi:10.1038/s41592-023-02151-z)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from engine.findings.overlap import Overlap, overlap
from trainer.evaluation.metrics.exam import Exam, Mask, Piece, Structure
from trainer.evaluation.metrics.lesion_detection import Lesions, lesions_of
from trainer.evaluation.metrics.surfaces import Nearness, nearness

NAN = float("nan")


@dataclass(frozen=True)
class Scores:
    """Scores of one structure in one patient."""

    overlap: Overlap
    """Over all voxels of the patient."""
    near: tuple[Nearness, ...]
    """Of each volume, or slice, whose spacing is known."""
    true_ml: float
    """As drawn; nan for slices."""
    found_ml: float

    def __add__(self, other: "Scores") -> "Scores":
        return Scores(
            self.overlap + other.overlap,
            self.near + other.near,
            # nan for slices, and so for the sum: a part of a liver is no volume.
            self.true_ml + other.true_ml,
            self.found_ml + other.found_ml,
        )

    @property
    def nsd(self) -> float:
        """Mean over volumes or slices; nan where no spacing is known or there is no surface."""
        return _mean([each.nsd for each in self.near])

    @property
    def hd95_mm(self) -> float:
        """Likewise."""
        return _mean([each.hd95_mm for each in self.near])

    @property
    def volume_error_ml(self) -> float:
        """Predicted minus outlined volume; nan for slices."""
        return self.found_ml - self.true_ml


@dataclass(frozen=True)
class PatientScores:
    """Scores of one patient."""

    patient: str
    of: Mapping[Structure, Scores]
    """Structures that were drawn, or looked for and not found."""
    lesions: Lesions | None
    """None where tumours were not drawn."""
    whole: bool
    """Judged in volumes; otherwise slice by slice."""

    def __add__(self, other: "PatientScores") -> "PatientScores":
        """Put two exams of the same patient together."""
        both = self.of.keys() & other.of.keys()
        return PatientScores(
            self.patient,
            # The sums come last, over what either side has alone.
            {**self.of, **other.of, **{each: self.of[each] + other.of[each] for each in both}},
            self.lesions + other.lesions
            if self.lesions and other.lesions
            else self.lesions or other.lesions,
            self.whole and other.whole,
        )

    @property
    def has_tumour(self) -> bool:
        """Whether any tumour was drawn."""
        return Structure.TUMOUR in self.of and self.of[Structure.TUMOUR].overlap.true > 0


@dataclass(frozen=True)
class Metric:
    """One figure of a structure in a patient."""

    key: str
    """In JSON."""
    name: str
    short: str
    """Short form for narrow columns."""
    unit: str
    of: Callable[[Scores], float]


METRICS = (
    Metric("dice", "Dice (DSC)", "Dice", "", lambda s: s.overlap.dice),
    Metric("iou", "IoU", "IoU", "", lambda s: s.overlap.iou),
    Metric("precision", "Precision (PPV)", "prec.", "", lambda s: s.overlap.precision),
    Metric("recall", "Recall (sensitivity)", "recall", "", lambda s: s.overlap.recall),
    Metric("accuracy", "Accuracy", "acc.", "", lambda s: s.overlap.accuracy),
    Metric("nsd", "Surface Dice (NSD)", "NSD", "", lambda s: s.nsd),
    Metric("hd95_mm", "HD95", "HD95", "mm", lambda s: s.hd95_mm),
    Metric("volume_error_ml", "Volume error", "error", "ml", lambda s: s.volume_error_ml),
)
"""In the order of every table."""


def judge(exam: Exam, tolerance_mm: float) -> PatientScores:
    """Return the figures of one patient.

    Args:
        exam: what was drawn and what was found.
        tolerance_mm: of the NSD; how far apart two surfaces may be and still be the same.
    """
    judged = ((each, _scores(exam, each, tolerance_mm)) for each in Structure)
    return PatientScores(
        exam.patient,
        {structure: scores for structure, scores in judged if scores is not None},
        lesions_of(exam),
        all(piece.is_volume for piece in exam.pieces),
    )


def _scores(exam: Exam, structure: Structure, tolerance_mm: float) -> Scores | None:
    parts = [_score(*each, tolerance_mm) for each in exam.masks(structure)]
    return reduce(add, parts) if parts else None


def _score(found: Mask, true: Mask, piece: Piece, tolerance_mm: float) -> Scores:
    near: tuple[Nearness, ...] = ()
    if piece.spacing_mm is not None:
        near = (nearness(found, true, piece.spacing_mm, tolerance_mm),)
    return Scores(
        overlap(found, true, piece.known),
        near,
        int(np.count_nonzero(true)) * piece.voxel_ml,
        int(np.count_nonzero(found)) * piece.voxel_ml,
    )


def _mean(values: list[float]) -> float:
    """Return the mean of those that are numbers; nan if none is."""
    numbers = [value for value in values if not np.isnan(value)]
    return float(np.mean(numbers)) if numbers else NAN
