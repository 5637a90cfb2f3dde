"""Reliability of probabilities: what was stated beside what was found."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from trainer.calibration.lesion_fit import equal_patients

BINS = 5
"""Of equal weight; more have no patients left in them."""
DRAWS = 1999
CONFIDENCE = 0.95

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judged:
    """Probabilities of marks beside what the marks are."""

    patients: NDArray[np.str_] | NDArray[np.intp]
    """(marks,) names or numbers."""
    stated: Values
    """(marks,) 0 to 1."""
    true: NDArray[np.bool_]
    """(marks,)."""

    def __len__(self) -> int:
        return len(self.stated)


@dataclass(frozen=True)
class Bin:
    """Marks of similar probability."""

    marks: int
    patients: int
    weight: float
    """Part of all weight."""
    stated: float
    """Mean probability; each patient weighs the same."""
    found: float
    """Part that is tumour."""


@dataclass(frozen=True)
class CalibrationError:
    """Expected calibration error (ECE, Naeini et al. 2015)."""

    value: float
    low: float
    """Of the 95 % interval by bootstrapping over patients."""
    high: float
    by_chance: float
    """Median if each probability were exactly true, with marks as few as these."""


def reliability(judged: Judged, bins: int = BINS) -> tuple[Bin, ...]:
    """Return bins of equal weight, in order of probability; empty ones are left out."""
    weights = equal_patients(judged.patients)
    order = np.argsort(judged.stated, kind="stable")
    # The middle of each mark's weight says where it belongs.
    ranks = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
    places = np.minimum((ranks * bins).astype(int), bins - 1)
    return tuple(
        _bin(judged, weights, order[places == place])
        for place in range(bins)
        if np.any(places == place)
    )


def expected_error(bins: Sequence[Bin]) -> float:
    """Return the mean distance of stated from found, weighted by bin."""
    return sum(each.weight * abs(each.stated - each.found) for each in bins)


def calibration_error(judged: Judged) -> CalibrationError:
    """Return the error with its interval over patients, and what chance alone makes of it."""
    names = np.unique(judged.patients)
    if len(names) < 2:  # one patient says nothing of others
        return CalibrationError(expected_error(reliability(judged)), math.nan, math.nan, math.nan)
    random = np.random.default_rng(0)  # the same marks give the same figures
    places = [np.flatnonzero(judged.patients == name) for name in names]

    def of_patients(drawn: NDArray[np.intp]) -> float:
        # A patient drawn twice counts as two.
        chosen = [places[index] for index in drawn]
        twins = np.repeat(np.arange(len(drawn)), [len(each) for each in chosen])
        marks = np.concatenate(chosen)
        return expected_error(reliability(Judged(twins, judged.stated[marks], judged.true[marks])))

    interval = bootstrap(
        (np.arange(len(names)),),
        of_patients,
        vectorized=False,
        n_resamples=DRAWS,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=random,
    ).confidence_interval
    chance = [
        expected_error(
            reliability(
                Judged(judged.patients, judged.stated, random.random(len(judged)) < judged.stated)
            )
        )
        for _ in range(DRAWS)
    ]
    return CalibrationError(
        expected_error(reliability(judged)),
        float(interval.low),
        float(interval.high),
        float(np.median(chance)),
    )


def _bin(judged: Judged, weights: Values, marks: NDArray[np.intp]) -> Bin:
    own = weights[marks]
    return Bin(
        len(marks),
        len(np.unique(judged.patients[marks])),
        float(own.sum() / weights.sum()),
        float(np.average(judged.stated[marks], weights=own)),
        float(np.average(judged.true[marks], weights=own)),
    )
