import numpy as np
import pytest
from scipy.stats import norm

from trainer.evaluation.metrics.bootstrap import mean, ratio


def test_the_interval_of_a_mean_is_that_of_theory_where_patients_are_many():
    values = np.random.default_rng(1).normal(0.9, 0.05, 400)
    estimate = mean(values)
    half = norm.ppf(0.975) * values.std() / np.sqrt(400)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=half / 10)
    assert estimate.high == pytest.approx(values.mean() + half, abs=half / 10)


def test_a_ratio_weighs_patients_by_what_they_have():
    estimate = ratio(np.array([9.0, 0.0, 5.0]), np.array([10.0, 10.0, 0.0]))
    assert (estimate.value, estimate.patients) == (0.45, 2)
    assert (estimate.low, estimate.high) == (0, 0.9)


def test_the_same_patients_give_the_same_interval():
    values = np.random.default_rng(2).random(7)
    assert mean(values) == mean(values)


def test_one_patient_says_nothing_of_others_and_none_says_nothing():
    assert np.isnan([mean(np.array([0.5, np.nan])).low, mean(np.array([])).value]).all()
    assert mean(np.array([0.5])).patients == 1


def test_a_patient_is_drawn_with_all_that_is_theirs():
    wholes = np.array([1.0, 10.0, 100.0, 1000.0])
    estimate = ratio(wholes / 2, wholes)
    assert (estimate.low, estimate.value, estimate.high) == (0.5, 0.5, 0.5)
