"""Intervals of volumes: their coverage, and when there is none."""

import numpy as np
import pytest

from trainer.calibration.conformal import calibrate_volume, relative_errors
from trainer.calibration.observations import Area


def areas(errors):
    return {f"p{number}": Area(100.0, 100.0 * (1 + error)) for number, error in enumerate(errors)}


@pytest.mark.parametrize(("patients", "coverage"), [(9, 0.9), (18, 0.9), (40, 0.8)])
def test_a_further_patient_lies_within_as_often_as_is_stated(patients, coverage):
    """Whatever the errors' distribution: here a skewed one with a long tail."""
    random = np.random.default_rng(0)
    inside = []
    for _ in range(2000):
        *fitted, further = random.lognormal(-3, 1.2, patients + 1) * random.choice([-1, 1])
        found = calibrate_volume(areas(fitted), coverage)
        inside.append(abs(further) <= found.relative_error)
    # Exact for continuous errors, and at least the coverage.
    expected = np.ceil((patients + 1) * coverage) / (patients + 1)
    assert np.mean(inside) == pytest.approx(expected, abs=0.03)


def test_the_half_width_is_the_error_of_the_right_rank_rounded_up():
    found = calibrate_volume(areas([0.01, -0.02, 0.03, 0.04, 0.05, -0.06, 0.07, 0.08, -0.12345]))
    assert found.relative_error == 0.1235
    assert found.patients == 9


def test_too_few_patients_have_no_interval_and_it_says_how_many_it_takes():
    said = calibrate_volume(areas([0.1] * 6))
    assert said == "volumes of 6 patients; an interval with 90 % coverage takes 9"


def test_patients_in_whom_nothing_was_marked_have_no_volume_to_state():
    assert relative_errors({"a": Area(0.0, 50.0), "b": Area(100.0, 80.0)}) == {
        "b": pytest.approx(0.2)
    }
