"""Logistic regression of whether a mark is a tumour, fitted on few patients.

Each patient weighs the same, however many marks there are, since one patient's marks are alike; the
weights add up to Kish's effective number of marks, so that the L2 penalty shrinks what few patients
support. The uncertainty is the jackknife's over patients.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t

from engine.findings.certainty import probability
from engine.manifest import LesionCalibration, LesionFeature, LogisticFit, Range
from trainer.calibration.observations import Mark
from trainer.patient_counts import patients as counted

CONFIDENCE = 0.9
"""Of the interval of each probability."""
FEWEST_PATIENTS = 5
"""With marks; the jackknife of fewer says next to nothing."""
FEWEST_MARKS = 10
"""True ones, and false ones: about ten for each of the parameters."""
FEWEST_OF_A_KIND = 3
"""Patients with true marks, and with false ones: without any one of them both kinds remain."""
DECIMALS = 6

Values = NDArray[np.float64]


def fit_lesions(marks: Sequence[Mark], members: int) -> LesionCalibration | str:
    """Return the calibration that marks support, or why they support none.

    The members' agreement is a feature where it foretells patients who were left out better.

    Args:
        marks: of patients that no member learnt from.
        members: networks of the model; one alone has no agreement.
    """
    if reason := _too_few(marks):
        return reason
    # A bare machine with a GPU need not have it, and its absence must not cost a training.
    if find_spec("sklearn") is None:
        return "scikit-learn is not installed here; `hepar model calibrate` adds it where it is"
    choices = [(LesionFeature.DIAMETER, LesionFeature.AGREEMENT), (LesionFeature.DIAMETER,)]
    fits = [_calibration(marks, features) for features in (choices if members > 1 else choices[1:])]
    return min(fits, key=lambda each: _log_loss(marks, cross_fitted(marks, each)))


def _calibration(marks: Sequence[Mark], features: Sequence[LesionFeature]) -> LesionCalibration:
    names = sorted({mark.patient for mark in marks})
    values = _values(marks, features)
    return LesionCalibration(
        fit=_fit(marks, features),
        without_one=tuple(
            _fit([mark for mark in marks if mark.patient != name], features) for name in names
        ),
        t_quantile=round(float(t.ppf((1 + CONFIDENCE) / 2, len(names) - 1)), DECIMALS),
        confidence=CONFIDENCE,
        ranges={
            feature: Range(low=float(column.min()), high=float(column.max()))
            for feature, column in zip(features, values.T, strict=True)
        },
        true_marks=sum(mark.is_tumour for mark in marks),
        false_marks=sum(not mark.is_tumour for mark in marks),
    )


def cross_fitted(marks: Sequence[Mark], calibration: LesionCalibration) -> Values:
    """Return the probability of each mark by the fit without its patient."""
    names = sorted({mark.patient for mark in marks})
    without = dict(zip(names, calibration.without_one, strict=True))
    return np.array([_probability(calibration, without[mark.patient], mark) for mark in marks])


def _log_loss(marks: Sequence[Mark], stated: Values) -> float:
    """Return the mean of -log of the probability of what is true, patients weighing the same."""
    true = np.array([mark.is_tumour for mark in marks])
    weights = equal_patients([mark.patient for mark in marks])
    return float(np.average(-np.log(np.where(true, stated, 1 - stated)), weights=weights))


def stated(marks: Sequence[Mark], calibration: LesionCalibration) -> Values:
    """Return the probability that results state of each mark; nan where they state none."""
    found = (probability(calibration, mark.features) for mark in marks)
    return np.array([each.value if each else np.nan for each in found], np.float64)


def equal_patients(patients: ArrayLike) -> Values:
    """Return a weight for each mark, equal in sum for each patient.

    Args:
        patients: (marks,) whose mark each is.

    They add up to the effective number of marks (Kish 1965).
    """
    _, index, counts = np.unique(patients, return_inverse=True, return_counts=True)
    weights = 1 / counts[index]
    scaled: Values = weights * weights.sum() / (weights**2).sum()
    return scaled


def _too_few(marks: Sequence[Mark]) -> str:
    names = {mark.patient for mark in marks}
    if len(names) < FEWEST_PATIENTS:
        return f"marks in {counted(len(names))}; probabilities take {FEWEST_PATIENTS}"
    for kind, is_tumour in (("true", True), ("false", False)):
        own = [mark.patient for mark in marks if mark.is_tumour is is_tumour]
        if len(own) < FEWEST_MARKS or len(set(own)) < FEWEST_OF_A_KIND:
            return (
                f"{len(own)} {kind} marks in {counted(len(set(own)))}; probabilities take"
                f" {FEWEST_MARKS} in {FEWEST_OF_A_KIND}"
            )
    return ""


def _values(marks: Sequence[Mark], features: Sequence[LesionFeature]) -> Values:
    return np.array([[mark.features[feature] for feature in features] for mark in marks])


def _fit(marks: Sequence[Mark], features: Sequence[LesionFeature]) -> LogisticFit:
    from sklearn.linear_model import LogisticRegression

    values, weights = _values(marks, features), equal_patients([mark.patient for mark in marks])
    centre = np.average(values, axis=0, weights=weights)
    spread = np.sqrt(np.average((values - centre) ** 2, axis=0, weights=weights))
    spread[spread == 0] = 1.0  # a feature that is the same everywhere gets the coefficient 0
    # The penalty is one for all coefficients, so they must be of one scale.
    model: Any = LogisticRegression(C=1.0).fit(
        (values - centre) / spread, [mark.is_tumour for mark in marks], sample_weight=weights
    )
    slopes = model.coef_[0] / spread
    named = zip(features, slopes.tolist(), strict=True)
    return LogisticFit(
        intercept=round(float(model.intercept_[0] - slopes @ centre), DECIMALS),
        coefficients={feature: round(slope, DECIMALS) for feature, slope in named},
    )


def _probability(calibration: LesionCalibration, fit: LogisticFit, mark: Mark) -> float:
    found = probability(calibration.model_copy(update={"fit": fit}), mark.features)
    assert found is not None, "a mark lies within the ranges that were taken from it"
    return found.value
