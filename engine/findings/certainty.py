"""How certain a result is: a probability for each lesion, an interval for each volume.

Both rest on patients that the model did not learn from (`calibration` in its manifest). A result
that is marked for review states neither: it is unlike those patients, or looks wrong. Nor does one
whose scan was not compared with those that the model learnt from.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.device import pooled_agreement
from engine.findings.measure import Lesion, Measurements
from engine.findings.quality import Quality, Statement
from engine.manifest import (
    Calibration,
    LesionCalibration,
    LesionFeature,
    LogisticFit,
    VolumeCalibration,
)
from engine.segmentation.segment import Segmentation
from engine.volume import Label

REVIEWED = "No probabilities and no ranges are stated, because the result is marked for review."
UNCHECKED = (
    "No probabilities and no ranges are stated: it is unknown what scans the model learnt from."
)


@dataclass(frozen=True)
class Probability:
    """Probability that experts draw a tumour where a lesion is marked."""

    value: float
    low: float
    """Lower end of its confidence interval."""
    high: float


@dataclass(frozen=True)
class VolumeInterval:
    """Range in which the true volume lies, with the coverage that the calibration states."""

    low_ml: float
    high_ml: float


@dataclass(frozen=True)
class Certainty:
    """Probabilities and intervals of one result; what is None or missing is not stated."""

    lesions: Mapping[int, Probability]
    """By number of the lesion."""
    liver: VolumeInterval | None
    tumour: VolumeInterval | None
    notes: tuple[str, ...]
    """Sentences for a reader: what the figures rest on, or why there are none."""


def state_certainty(
    calibration: Calibration, made: Segmentation, measured: Measurements, quality: Quality
) -> Certainty:
    """Return how certain a result that contains liver is."""
    if quality.statement is Statement.REVIEW:
        return Certainty({}, None, None, (REVIEWED,))
    if not quality.domain_checked:
        return Certainty({}, None, None, (UNCHECKED,))
    return Certainty(
        dict(_probabilities(calibration.lesions, made, measured)),
        _interval(calibration.liver_volume, measured.liver_ml),
        _interval(calibration.tumour_volume, measured.tumour_ml),
        tuple(_notes(calibration, measured)),
    )


def lesion_features(
    lesion: Lesion, counts: NDArray[np.float32] | None
) -> Mapping[LesionFeature, float]:
    """Return the features of a lesion.

    Args:
        lesion: of a volume, or of one slice without neighbours.
        counts: (slices, 2, 2), as in `Answer.agreement`, of that volume; None if unknown.
    """
    found = {LesionFeature.DIAMETER: math.log2(lesion.longest_mm)}
    if counts is not None:
        first, last = lesion.slices
        agreement = pooled_agreement(counts[first : last + 1])
        found[LesionFeature.AGREEMENT] = agreement[Label.TUMOUR]
    return found


def probability(
    calibration: LesionCalibration, features: Mapping[LesionFeature, float]
) -> Probability | None:
    """Return the probability of a lesion; None where a feature is unlike those of the patients."""
    for feature, met in calibration.ranges.items():
        if feature not in features or not met.low <= features[feature] <= met.high:
            return None
    logit = _logit(calibration.fit, features)
    others = np.array([_logit(each, features) for each in calibration.without_one])
    # Variance by the jackknife (Efron and Tibshirani 1993, chapter 11): patients, not marks, are
    # independent.
    variance = (len(others) - 1) * float(others.var())
    margin = calibration.t_quantile * math.sqrt(variance)
    return Probability(*(_expit(each) for each in (logit, logit - margin, logit + margin)))


def _probabilities(
    calibration: LesionCalibration | None, made: Segmentation, measured: Measurements
) -> Iterator[tuple[int, Probability]]:
    if calibration is None:
        return
    for lesion in measured.lesions:
        found = probability(calibration, lesion_features(lesion, made.agreement_counts))
        if found is not None:
            yield lesion.number, found


def _interval(calibration: VolumeCalibration | None, volume_ml: float) -> VolumeInterval | None:
    if calibration is None or not volume_ml:
        return None
    margin_ml = calibration.relative_error * volume_ml
    return VolumeInterval(max(0.0, volume_ml - margin_ml), volume_ml + margin_ml)


def _notes(calibration: Calibration, measured: Measurements) -> Iterator[str]:
    """Yield sentences that fit on a line of the page in PDF."""
    if (lesions := calibration.lesions) and measured.lesions:
        yield (
            "Probability: of an expert's tumour at the lesion, with its"
            f" {100 * lesions.confidence:.0f} % confidence interval."
        )
        yield (
            f"It rests on {lesions.true_marks} true and {lesions.false_marks} false marks in slices"
            f" of {lesions.patients} patients; none for a lesion unlike those."
        )
    volumes = {"liver": calibration.liver_volume, "tumours": calibration.tumour_volume}
    for name, each in volumes.items():
        if each:
            yield (
                f"The volume of the {name} lies in its range in {100 * each.coverage:.0f} % of"
                f" patients like the {each.patients} that it rests on."
            )


def _logit(fit: LogisticFit, features: Mapping[LesionFeature, float]) -> float:
    terms = (weight * features[feature] for feature, weight in fit.coefficients.items())
    return fit.intercept + sum(terms)


def _expit(logit: float) -> float:
    # exp overflows above 709; the tanh form has no such end.
    return 0.5 * (1 + math.tanh(logit / 2))
