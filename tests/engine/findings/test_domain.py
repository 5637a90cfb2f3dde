"""Comparison of scans with those that a model learnt from."""

import numpy as np
import pytest

from engine.findings.domain import Outside, outside_of
from engine.findings.measure import measure
from engine.findings.quality import OUTSIDE, Concern, Statement, check_quality
from engine.manifest import Domain, Feature, Range
from engine.phantom import make_phantom
from engine.segmentation.segment import Segmentation
from engine.volume import Label, Volume

WIDE = {feature: Range(low=-1000, high=1000) for feature in Feature}


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(3, shape=(40, 160, 160), spacing_mm=(5.0, 2.4, 2.4))


def domain(**ranges):
    changed = {Feature[name]: Range(low=low, high=high) for name, (low, high) in ranges.items()}
    return Domain(patients=30, hu_bounds=(0.0, 160.0), ranges=WIDE | changed)


def outside(phantom, learnt, volume=None):
    return outside_of(learnt, volume or phantom.volume, phantom.truth)


def test_a_scan_like_those_that_were_learnt_from_is_within(phantom):
    assert outside(phantom, domain()) == ()


@pytest.mark.parametrize("feature", Feature)
def test_each_feature_is_compared_with_its_range_and_named_with_both(phantom, feature):
    (found,) = outside(phantom, domain(**{feature.name: (500, 600)}))
    assert found.feature is feature
    assert found.text.endswith("; learnt: 500 to 600")
    assert f"{round(found.value, 1):g}" in found.text


def test_noise_is_told_from_what_was_learnt(phantom):
    hu = phantom.volume.hu + np.random.default_rng(1).normal(0, 45, phantom.volume.hu.shape)
    noisy = Volume(hu.astype(np.int16), phantom.volume.geometry)
    (found,) = outside(phantom, domain(NOISE=(8, 30)), noisy)
    assert found.text == f"noise of {found.value:g} HU in the liver; learnt: 8 to 30"
    assert 30 < found.value < 60


def test_a_value_at_the_bound_as_written_is_within(phantom):
    (level,) = outside(phantom, domain(LEVEL=(0, 1)))
    assert outside(phantom, domain(LEVEL=(level.value, level.value))) == ()


def test_a_feature_that_the_model_does_not_state_is_not_compared(phantom):
    learnt = Domain(
        patients=30, hu_bounds=(0.0, 160.0), ranges={Feature.LEVEL: Range(low=0, high=1)}
    )
    assert [each.feature for each in outside(phantom, learnt)] == [Feature.LEVEL]


def test_every_feature_has_a_concern_of_its_own():
    assert len(set(OUTSIDE.values())) == len(Feature)
    assert set(OUTSIDE) == set(Feature)


def test_what_is_outside_asks_for_a_review_with_its_value(phantom):
    made = Segmentation(phantom.truth, {Label.LIVER: 1.0, Label.TUMOUR: 1.0}, {}, 40)
    measured = measure(phantom.volume, phantom.truth)
    plain = check_quality(made, measured, ())
    noise = Outside(Feature.NOISE, 45.0, Range(low=0.0, high=17.8))
    quality = check_quality(made, measured, [noise])
    assert quality.statement is Statement.REVIEW
    assert quality.concerns == (*plain.concerns, Concern.OTHER_NOISE)
    assert quality.reasons[-1] == "noise of 45 HU in the liver; learnt: 0 to 17.8"
    assert quality.details == (noise.text,)
    assert quality.domain_checked


def test_a_scan_that_was_not_compared_is_not_called_compared(phantom):
    made = Segmentation(phantom.truth, {}, {}, 40)
    quality = check_quality(made, measure(phantom.volume, phantom.truth))
    assert not quality.domain_checked
    assert quality.outside == ()


def test_a_range_runs_upwards():
    with pytest.raises(ValueError, match="low 3 is above high 2"):
        Range(low=3, high=2)
