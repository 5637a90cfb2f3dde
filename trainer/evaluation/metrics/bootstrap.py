"""Confidence intervals by bootstrapping over patients."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

DRAWS = 9999
CONFIDENCE = 0.95
NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """A figure over patients, with the bounds of its confidence interval."""

    value: float
    """nan where it rests on no patient."""
    low: float
    """nan where it rests on one patient or none: the spread between patients is unknown."""
    high: float
    patients: int
    """Number of patients."""


def mean(values: NDArray[np.float64]) -> Estimate:
    """Return the mean over patients; those whose value is nan are left out."""
    numbers = values[~np.isnan(values)]
    return ratio(numbers, np.ones(len(numbers)))


def ratio(parts: NDArray[np.float64], wholes: NDArray[np.float64]) -> Estimate:
    """Return the ratio of two sums over patients; who adds nothing to the second is left out.

    The interval is the percentile bootstrap's: patients are drawn with all that is theirs.
    """
    counts = wholes > 0
    parts, wholes = parts[counts], wholes[counts]
    if not len(wholes):
        return Estimate(NAN, NAN, NAN, 0)
    value = float(parts.sum() / wholes.sum())
    if len(wholes) == 1:
        return Estimate(value, NAN, NAN, 1)
    interval = bootstrap(
        (parts, wholes),
        lambda some, all_, axis: some.sum(axis=axis) / all_.sum(axis=axis),
        # A draw takes a patient's part and whole together.
        paired=True,
        n_resamples=DRAWS,
        confidence_level=CONFIDENCE,
        method="percentile",
        # Fixed: the same figures give the same interval in every report.
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high), len(wholes))
