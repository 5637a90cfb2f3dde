"""Summary statistics over patients, each with the number of patients."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.metrics.bootstrap import Estimate, mean, ratio
from trainer.evaluation.metrics.exam import Structure
from trainer.evaluation.metrics.lesion_detection import FOUND_AT, WELL_FOUND_AT, Lesion, Lesions
from trainer.evaluation.metrics.scores import METRICS, Metric, PatientScores, Scores

NAN = float("nan")


@dataclass(frozen=True)
class Size:
    """Lesions of one size, by diameter."""

    name: str
    least_mm: float
    below_mm: float

    def holds(self, lesion: Lesion) -> bool:
        """Whether a lesion is of this size."""
        # Never true of nan: lesions of unknown size have a class of their own.
        return self.least_mm <= lesion.diameter_mm < self.below_mm


@dataclass(frozen=True)
class SizeUnknown(Size):
    """Lesions of unknown diameter, because the spacing was lost."""

    def holds(self, lesion: Lesion) -> bool:
        """Whether nothing is known of a lesion's size."""
        return bool(np.isnan(lesion.diameter_mm))


SIZES = (
    Size("under 10 mm", 0, 10),
    Size("10 to 20 mm", 10, 20),
    Size("20 mm and more", 20, np.inf),
    SizeUnknown("size unknown", NAN, NAN),
)


@dataclass(frozen=True)
class Spread:
    """One metric over the patients who have a value."""

    metric: Metric
    mean: Estimate
    median: float
    quartiles: tuple[float, float]


@dataclass(frozen=True)
class Detection:
    """Lesions of one size and how many of them were found."""

    size: str
    lesions: int
    found: int
    recall: Estimate
    """Covered by at least `FOUND_AT`."""
    recall_half: Estimate
    """Covered by at least `WELL_FOUND_AT`."""


@dataclass(frozen=True)
class FalseMarks:
    """False tumour."""

    patients: int
    lesions: int
    ml: float
    """nan where none of them was judged in a volume."""


@dataclass(frozen=True)
class LesionFigures:
    """Lesion-wise figures over the patients whose tumours were drawn or looked for."""

    patients: int
    by_size: tuple[Detection, ...]
    every: Detection
    precision: Estimate
    """Part of the marks that are on a drawn lesion."""
    healthy: FalseMarks
    """In patients without any tumour."""


@dataclass(frozen=True)
class Summary:
    """Summary over all patients."""

    patients: int
    pooled_dice: dict[Structure, Estimate]
    """Over all voxels of all patients; false marks in patients without tumour count against it."""
    spreads: dict[Structure, tuple[Spread, ...]]
    """Of the tumour, over patients who have one."""
    lesions: LesionFigures | None
    """None where no tumours were drawn."""


def summarise(patients: Sequence[PatientScores]) -> Summary:
    """Summarise all patients."""
    present = {each: _who_has(each, patients) for each in Structure}
    return Summary(
        len(patients),
        {each: _pooled(scores) for each in Structure if (scores := _who_looked(each, patients))},
        {each: _spreads(scores) for each, scores in present.items() if scores},
        _lesion_figures(patients),
    )


def _who_looked(structure: Structure, patients: Iterable[PatientScores]) -> list[Scores]:
    return [each.of[structure] for each in patients if structure in each.of]


def _who_has(structure: Structure, patients: Iterable[PatientScores]) -> list[Scores]:
    # The Dice of a patient without the structure is 0 or nan and would say nothing.
    return [scores for scores in _who_looked(structure, patients) if scores.overlap.true]


def _pooled(scores: Sequence[Scores]) -> Estimate:
    return ratio(
        _array(2 * each.overlap.both for each in scores),
        _array(each.overlap.predicted + each.overlap.true for each in scores),
    )


def _spreads(scores: Sequence[Scores]) -> tuple[Spread, ...]:
    return tuple(_spread(metric, _array(map(metric.of, scores))) for metric in METRICS)


def _spread(metric: Metric, values: NDArray[np.float64]) -> Spread:
    numbers = values[~np.isnan(values)]
    if not len(numbers):
        return Spread(metric, mean(numbers), NAN, (NAN, NAN))
    low, median, high = np.quantile(numbers, [0.25, 0.5, 0.75])
    return Spread(metric, mean(numbers), float(median), (float(low), float(high)))


def _lesion_figures(patients: Sequence[PatientScores]) -> LesionFigures | None:
    looked = [each for each in patients if each.lesions is not None]
    lesions = [each.lesions for each in looked if each.lesions is not None]
    if not lesions:
        return None
    sized = [_detection(size.name, lesions, size.holds) for size in SIZES]
    healthy = [each for each in looked if not each.has_tumour]
    return LesionFigures(
        len(looked),
        # A size without a lesion has no recall.
        tuple(each for each in sized if each.lesions),
        _detection("all", lesions, lambda lesion: True),
        _part([each.found for each in lesions], FOUND_AT),
        _false_marks(healthy),
    )


def _detection(name: str, lesions: Sequence[Lesions], holds: Callable[[Lesion], bool]) -> Detection:
    drawn = [[lesion for lesion in each.drawn if holds(lesion)] for each in lesions]
    found = [lesion for each in drawn for lesion in each if lesion.covered >= FOUND_AT]
    return Detection(
        name,
        sum(map(len, drawn)),
        len(found),
        _part(drawn, FOUND_AT),
        _part(drawn, WELL_FOUND_AT),
    )


def _part(patients: Sequence[Sequence[Lesion]], covered: float) -> Estimate:
    """Return the part of all lesions that is covered well enough."""
    return ratio(
        _array(sum(lesion.covered >= covered for lesion in each) for each in patients),
        _array(map(len, patients)),
    )


def _false_marks(healthy: Sequence[PatientScores]) -> FalseMarks:
    ml = _array(each.of[Structure.TUMOUR].found_ml for each in healthy)
    # Of patients who were judged slice by slice.
    ml = ml[~np.isnan(ml)]
    found = [each.lesions.found for each in healthy if each.lesions is not None]
    return FalseMarks(len(healthy), sum(map(len, found)), float(ml.sum()) if len(ml) else NAN)


def _array(values: Iterable[float]) -> NDArray[np.float64]:
    return np.array(list(values), np.float64)
