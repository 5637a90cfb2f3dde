"""Marks and areas on slices made by hand."""

import math

import numpy as np
import pytest

from engine.manifest import LesionFeature
from trainer.calibration.observations import SMALLEST_MM2, AnsweredSlice, Area, collect
from trainer.datasets.cases.target import Target

SIDE = 64
LARGE, OTHER, SPECK = np.s_[10:20, 10:26], np.s_[40:48, 30:40], np.s_[5:7, 50:52]


def answered(*marked, drawn=(), elsewhere=Target.LIVER, patient="a", mm=1.5, agreement=(30, 40)):
    """Return a slice that is all liver, with tumour marked at some places and drawn at others."""
    labels = np.ones((SIDE, SIDE), np.uint8)
    target = np.full((SIDE, SIDE), elsewhere, np.uint8)
    for place in marked:
        labels[place] = 2
    for place in drawn:
        target[place] = Target.TUMOUR
    counts = np.array([[9, 9], agreement], np.float32)
    hu = np.full((SIDE, SIDE), 90, np.int16)
    return AnsweredSlice(patient, hu, target, labels, counts, mm)


def test_a_mark_is_true_where_drawn_tumour_covers_a_tenth_of_it():
    observed = collect([answered(LARGE, OTHER, drawn=[np.s_[10:12, 10:26]])])
    assert [mark.is_tumour for mark in observed.marks] == [True, False]
    observed = collect([answered(LARGE, drawn=[np.s_[10, 10:22]])])  # 12 of 160 pixels
    assert [mark.is_tumour for mark in observed.marks] == [False]


def test_a_mark_has_the_features_that_a_lesion_of_a_series_has():
    (mark,) = collect([answered(LARGE)]).marks
    # From corner to corner of 10 x 16 pixels.
    assert 2 ** mark.features[LesionFeature.DIAMETER] == pytest.approx(
        1.5 * math.hypot(10, 16), rel=0.05
    )
    assert mark.features[LesionFeature.AGREEMENT] == pytest.approx(0.75)


def test_marks_that_the_clean_up_of_a_series_drops_are_left_out():
    assert pytest.approx(math.pi / 4 * 5**2, rel=0.01) == SMALLEST_MM2
    assert collect([answered(SPECK)]).marks == ()  # 9 mm²
    assert len(collect([answered(SPECK, mm=2.5)]).marks) == 1  # 25 mm²


def test_areas_are_summed_by_patient_where_a_structure_was_drawn():
    slices = [
        answered(LARGE, drawn=[OTHER], mm=2.0),
        answered(LARGE, mm=1.0),
        answered(LARGE, elsewhere=Target.LIVER_OR_TUMOUR, patient="b", mm=1.0),
        answered(LARGE, drawn=[LARGE], elsewhere=Target.NO_TUMOUR, patient="c", mm=1.0),
    ]
    observed = collect(slices)
    whole = SIDE**2
    assert observed.liver == {
        "a": Area(5 * whole, 5 * whole, 5 * whole),
        "b": Area(whole, whole, whole),
    }
    assert observed.tumour == {"a": Area(5 * 160, 4 * 80), "c": Area(160, 160, 160)}
    assert [mark.patient for mark in observed.marks] == ["a", "a", "c"]


def test_what_nobody_looked_at_is_no_mark():
    assert collect([answered(LARGE, elsewhere=Target.UNKNOWN)]).marks == ()
