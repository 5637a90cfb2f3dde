"""Probabilities of lesions and intervals of volumes, on results made by hand."""

import csv
import io
import json
import math

import numpy as np
import pytest

from engine.findings.certainty import (
    REVIEWED,
    UNCHECKED,
    Certainty,
    Probability,
    VolumeInterval,
    lesion_features,
    probability,
    state_certainty,
)
from engine.findings.measure import measure
from engine.findings.quality import Concern, Quality
from engine.findings.summary import summarize
from engine.findings.tabulate import PROBABILITY, to_csv, to_values
from engine.manifest import (
    Calibration,
    LesionCalibration,
    LesionFeature,
    LogisticFit,
    Range,
    VolumeCalibration,
)
from engine.segmentation.segment import Segmentation
from engine.volume import Geometry, Label, LabelMap, Volume

SHAPE = (12, 40, 50)
DIAMETER, AGREEMENT = LesionFeature.DIAMETER, LesionFeature.AGREEMENT
RANGES = {DIAMETER: Range(low=1, high=5), AGREEMENT: Range(low=0, high=1)}
LARGE, SMALL = np.s_[4:7, 5:15, 5:21], np.s_[9:11, 30:33, 30:33]


def fit(intercept=-4.0, diameter=1.0, agreement=2.0):
    return LogisticFit(intercept=intercept, coefficients={DIAMETER: diameter, AGREEMENT: agreement})


def calibration(*without, ranges=RANGES):
    return LesionCalibration(
        fit=fit(),
        without_one=without or (fit(), fit(), fit()),
        t_quantile=2.92,
        confidence=0.9,
        ranges=ranges,
        true_marks=40,
        false_marks=20,
    )


WHOLE = Calibration(
    lesions=calibration(),
    liver_volume=VolumeCalibration(relative_error=0.1, coverage=0.9, patients=18),
)


def result(*lesions):
    """Return a liver that fills the grid but its rim, with lesions, and its measurements."""
    grid = Geometry(SHAPE, np.diag([2.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]], "1.2.3")
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:-1, 1:-1, 1:-1] = Label.LIVER
    for place in lesions:
        labels[place] = Label.TUMOUR
    label_map = LabelMap(labels, grid)
    counts = np.zeros((SHAPE[0], 2, 2), np.float32)
    counts[4:7, 1] = [[30, 40], [10, 20], [0, 20]]  # pooled 40 of 80
    counts[9:11, 1] = [[1, 4], [0, 0]]
    made = Segmentation(label_map, {}, {}, SHAPE[0], agreement_counts=counts)
    return made, measure(Volume(np.full(SHAPE, 60, np.int16), grid), label_map)


def test_the_features_of_a_lesion_are_its_longest_diameter_and_the_agreement_on_its_slices():
    made, measured = result(LARGE, SMALL)
    large, small = (lesion_features(each, made.agreement_counts) for each in measured.lesions)
    assert large[DIAMETER] == pytest.approx(math.log2(measured.lesions[0].longest_mm))
    assert large[AGREEMENT] == pytest.approx(0.5)
    assert small[AGREEMENT] == pytest.approx(0.25)
    assert AGREEMENT not in lesion_features(measured.lesions[0], None)


def test_a_probability_is_that_of_the_logistic_model():
    found = probability(calibration(), {DIAMETER: 4.0, AGREEMENT: 0.5})
    assert found.value == pytest.approx(1 / (1 + math.exp(-1)))
    assert found.low == found.high == pytest.approx(found.value)  # no fit differs


def test_the_interval_grows_with_what_single_patients_change():
    shifts = (-0.6, 0.0, 0.6)
    others = [fit(-4.0 + shift) for shift in shifts]
    found = probability(calibration(*others), {DIAMETER: 4.0, AGREEMENT: 0.5})
    # The jackknife's variance: (n - 1) / n times the sum of squares.
    margin = 2.92 * math.sqrt(2 / 3 * (2 * 0.6**2))
    assert found.low == pytest.approx(1 / (1 + math.exp(margin - 1)))
    assert found.high == pytest.approx(1 / (1 + math.exp(-margin - 1)))


@pytest.mark.parametrize("features", [{DIAMETER: 5.1, AGREEMENT: 0.5}, {DIAMETER: 4.0}])
def test_a_lesion_unlike_those_that_were_fitted_has_no_probability(features):
    assert probability(calibration(), features) is None


def test_a_result_states_probabilities_and_the_intervals_that_the_model_has():
    made, measured = result(LARGE, SMALL)
    found = state_certainty(WHOLE, made, measured, Quality())
    assert set(found.lesions) == {1, 2}
    assert found.lesions[1].value > found.lesions[2].value
    assert found.liver.low_ml == pytest.approx(0.9 * measured.liver_ml)
    assert found.liver.high_ml == pytest.approx(1.1 * measured.liver_ml)
    assert found.tumour is None
    assert len(found.notes) == 3
    assert "40 true and 20 false marks in slices of 3 patients" in found.notes[1]
    assert "liver lies in its range in 90 % of patients like the 18" in found.notes[2]
    assert max(map(len, found.notes)) <= 110  # a line of the page in PDF


def test_a_result_to_be_reviewed_states_neither_and_why():
    made, measured = result(LARGE)
    found = state_certainty(WHOLE, made, measured, Quality((Concern.OTHER_NOISE,)))
    assert found == Certainty({}, None, None, (REVIEWED,))


def test_a_scan_that_was_not_compared_with_what_was_learnt_states_neither():
    made, measured = result(LARGE)
    found = state_certainty(WHOLE, made, measured, Quality(domain_checked=False))
    assert found == Certainty({}, None, None, (UNCHECKED,))


def test_an_interval_does_not_reach_below_zero():
    made, measured = result(LARGE)
    wide = VolumeCalibration(relative_error=3.0, coverage=0.9, patients=18)
    found = state_certainty(Calibration(tumour_volume=wide), made, measured, Quality())
    assert found.tumour == VolumeInterval(0.0, pytest.approx(4 * measured.tumour_ml))
    assert found.lesions == {}
    assert not any("robability" in each for each in found.notes)


def test_the_json_has_what_is_stated_and_null_for_what_is_not():
    _, measured = result(LARGE, SMALL)
    certainty = Certainty(
        {1: Probability(0.8, 0.6, 0.9)}, VolumeInterval(10.0, 12.0), None, ("A note.",)
    )
    values = json.loads(json.dumps(to_values(measured, Quality(), certainty)))
    assert values["liver_interval_ml"] == [10.0, 12.0]
    assert values["tumour_interval_ml"] is None
    assert values["certainty_notes"] == ["A note."]
    liver, large, small = values["structures"]
    assert [large[name] for name in PROBABILITY] == [0.8, 0.6, 0.9]
    assert [small[name] for name in PROBABILITY] == [None] * 3
    assert not set(PROBABILITY) & set(liver)
    rows = list(csv.DictReader(io.StringIO(to_csv(measured, certainty))))
    assert [row["probability"] for row in rows] == ["", "0.8", ""]


def test_a_model_without_calibration_writes_nothing_new():
    _, measured = result(LARGE)
    values = to_values(measured, Quality())
    assert not {"liver_interval_ml", "tumour_interval_ml", "certainty_notes"} & set(values)
    assert not any(set(PROBABILITY) & set(row) for row in values["structures"])
    assert "probability" not in to_csv(measured)


def test_the_summary_has_each_lesion_with_its_probability():
    made, measured = result(LARGE, SMALL)
    stated = Probability(0.8, 0.6, 0.9)
    certainty = Certainty({1: stated}, VolumeInterval(10.0, 12.0), None, ("A note.",))
    found = summarize(measured, made.label_map, certainty=certainty)
    assert [each.probability for each in found.lesions] == [stated, None]
    assert found.has_probabilities
    assert (found.liver_interval, found.tumour_interval) == (VolumeInterval(10.0, 12.0), None)
    assert found.certainty_notes == ("A note.",)
    plain = summarize(measured, made.label_map)
    assert not plain.has_probabilities
    assert not plain.certainty_notes
