"""Reliability curves and the expected calibration error."""

import numpy as np
import pytest

from trainer.calibration.reliability import (
    Judged,
    calibration_error,
    expected_error,
    reliability,
)


def judged(stated, true, patients=None):
    names = patients if patients is not None else [f"p{index}" for index in range(len(stated))]
    return Judged(np.array(names), np.array(stated, float), np.array(true, bool))


def sampled(count, off=0.0):
    random = np.random.default_rng(0)
    stated = random.uniform(0.1, 0.7, count)
    return judged(stated, random.random(count) < stated + off)


def test_bins_have_equal_weight_and_run_from_low_to_high():
    bins = reliability(sampled(1000))
    assert [each.marks for each in bins] == [200] * 5
    assert [each.weight for each in bins] == pytest.approx([0.2] * 5)
    assert [each.stated for each in bins] == sorted(each.stated for each in bins)


def test_probabilities_that_are_true_have_hardly_any_error():
    assert expected_error(reliability(sampled(20000))) < 0.01


def test_probabilities_that_are_off_have_that_error():
    assert expected_error(reliability(sampled(20000, off=0.2))) == pytest.approx(0.2, abs=0.01)


def test_each_patient_weighs_the_same():
    # 90 right marks of one patient do not outweigh the wrong one of another.
    found = judged([0.5] * 91, [True] * 90 + [False], ["a"] * 90 + ["b"])
    assert expected_error(reliability(found, bins=1)) == pytest.approx(0.0)


def test_the_error_states_its_interval_and_what_chance_makes_of_it():
    few = sampled(30)
    error = calibration_error(few)
    assert error.low <= error.value <= error.high
    assert error.by_chance > 0.05
    assert calibration_error(few) == error
    many = calibration_error(sampled(150, off=0.2))
    assert many.low > many.by_chance


def test_one_patient_gives_an_error_and_no_interval():
    found = calibration_error(judged([0.2, 0.8], [False, True], ["a", "a"]))
    assert found.value == pytest.approx(0.2)
    assert np.isnan([found.low, found.high, found.by_chance]).all()
