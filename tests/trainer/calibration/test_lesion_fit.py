"""Fits on marks whose probabilities are known."""

import re
import sys

import numpy as np
import pytest

from engine.findings.certainty import probability
from engine.manifest import LesionFeature
from trainer.calibration.lesion_fit import cross_fitted, equal_patients, fit_lesions, stated
from trainer.calibration.observations import Mark

DIAMETER, AGREEMENT = LesionFeature.DIAMETER, LesionFeature.AGREEMENT


def drawn(patients=30, marks=60, seed=0):
    """Marks of which each is a tumour with a known probability, and these probabilities."""
    random = np.random.default_rng(seed)
    found, known = [], []
    for patient in range(patients):
        for _ in range(marks):
            diameter, agreement = random.uniform(2, 6), random.uniform(0, 1)
            chance = 1 / (1 + np.exp(-(-5 + 1.0 * diameter + 2.0 * agreement)))
            features = {DIAMETER: diameter, AGREEMENT: agreement}
            found.append(Mark(f"p{patient}", features, bool(random.random() < chance)))
            known.append(chance)
    return found, np.array(known)


def test_a_fit_recovers_the_probabilities_that_the_marks_were_drawn_with():
    marks, known = drawn()
    calibration = fit_lesions(marks, members=3)
    assert stated(marks, calibration) == pytest.approx(known, abs=0.06)
    assert calibration.fit.coefficients[DIAMETER] == pytest.approx(1.0, abs=0.2)
    assert calibration.patients == 30
    assert calibration.true_marks + calibration.false_marks == len(marks)


def test_the_interval_of_a_probability_holds_the_true_one_about_as_often_as_it_says():
    inside = []
    for seed in range(15):
        marks, known = drawn(patients=12, marks=20, seed=seed)
        calibration = fit_lesions(marks, members=3)
        for index in (0, 100, 200):
            found = probability(calibration, marks[index].features)
            inside.append(found.low <= known[index] <= found.high)
    assert np.mean(inside) >= 0.8


def test_one_member_has_no_agreement_to_fit():
    calibration = fit_lesions(drawn()[0], members=1)
    assert set(calibration.fit.coefficients) == {DIAMETER}


def test_agreement_is_left_out_where_it_misleads_on_patients_left_out():
    marks, _ = drawn(patients=6, marks=30)
    random = np.random.default_rng(1)
    # In each patient it stands for something else.
    misled = [
        Mark(
            mark.patient,
            {**mark.features, AGREEMENT: float(mark.is_tumour == (int(mark.patient[1:]) % 2))},
            mark.is_tumour,
        )
        for mark in marks
    ]
    assert set(fit_lesions(misled, members=3).fit.coefficients) == {DIAMETER}
    told = [
        Mark(
            mark.patient,
            {**mark.features, AGREEMENT: float(mark.is_tumour) * random.random()},
            mark.is_tumour,
        )
        for mark in marks
    ]
    assert set(fit_lesions(told, members=3).fit.coefficients) == {DIAMETER, AGREEMENT}


def test_a_patient_with_many_marks_weighs_as_much_as_one_with_few():
    weights = equal_patients(["a"] * 8 + ["b"] * 2)
    assert weights[:8].sum() == pytest.approx(weights[8:].sum())
    assert weights.sum() == pytest.approx((8 * 0.125 + 2 * 0.5) ** 2 / (8 / 64 + 2 / 4))


def test_each_mark_is_judged_by_the_fit_without_its_patient():
    marks, _ = drawn(patients=6, marks=12)
    calibration = fit_lesions(marks, members=3)
    others = [mark for mark in marks if mark.patient != "p3"]
    alone = fit_lesions(others, members=3)
    own = [index for index, mark in enumerate(marks) if mark.patient == "p3"]
    wide = alone.model_copy(update={"ranges": calibration.ranges})
    expected = stated([marks[index] for index in own], wide)
    assert cross_fitted(marks, calibration)[own] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (lambda mark: mark.patient in {"p0", "p1", "p2", "p3"}, "marks in 4 patients; .* take 5"),
        (lambda mark: mark.is_tumour, "0 false marks in 0 patients; .* take 10 in 3"),
        (lambda mark: mark.is_tumour is (mark.patient != "p0"), "false marks in 1 patient; "),
    ],
)
def test_too_few_patients_or_marks_have_no_probabilities_and_it_says_why(kept, reason):
    said = fit_lesions([mark for mark in drawn(patients=6)[0] if kept(mark)], members=3)
    assert isinstance(said, str)
    assert re.search(reason, said), said


def test_a_machine_without_scikit_learn_trains_all_the_same_and_says_what_is_missing(monkeypatch):
    marks, _ = drawn()
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert "scikit-learn is not installed" in fit_lesions(marks, members=3)
