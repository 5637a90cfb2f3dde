"""Ranges of the scans that were learnt from."""

import numpy as np
import pytest

from engine.manifest import Feature
from trainer.datasets.cases.slices import Slices, concatenate
from trainer.datasets.cases.target import Target
from trainer.export.learnt_domain import FEWEST, learnt_domain

BOUNDS = (0.0, 160.0)


def scan(patient, liver_hu, slice_mm=5.0, target=Target.LIVER_OR_TUMOUR, pixel_mm=1.5):
    """One slice of 64 x 64 pixels, half of whose square is liver."""
    hu = np.full((1, 64, 64), 60, np.int16)
    drawn = np.zeros(hu.shape, np.uint8)
    hu[0, 10:42, 10:42] = liver_hu
    drawn[0, 10:42, 10:42] = target
    return Slices(
        hu,
        drawn,
        np.array([patient]),
        np.array([pixel_mm], np.float32),
        slice_mm=np.array([slice_mm], np.float32),
    )


def scans(count, **changes):
    names = [f"p{number:03}" for number in range(count)]
    parts = [scan(name, 60 + number, **changes) for number, name in enumerate(names)]
    return concatenate(parts), names


def test_a_range_holds_the_middle_of_the_patients():
    domain = learnt_domain(*scans(81), BOUNDS)
    assert domain.patients == 81
    level = domain.ranges[Feature.LEVEL]
    assert (level.low, level.high) == (62, 138)
    assert domain.ranges[Feature.SLICES].low == domain.ranges[Feature.SLICES].high == 5


def test_little_noise_is_within_whatever_was_learnt():
    slices, names = scans(40)
    slices.hu[:] += np.random.default_rng(1).integers(-15, 16, slices.hu.shape, np.int16)
    domain = learnt_domain(slices, names, BOUNDS)
    assert domain.ranges[Feature.NOISE].high > 5
    assert domain.ranges[Feature.NOISE].low == 0
    assert domain.ranges[Feature.CUT].low == 0


def test_patients_who_were_not_learnt_from_do_not_count():
    slices, names = scans(60)
    learnt = names[:30]
    assert learnt_domain(slices, learnt, BOUNDS) == learnt_domain(slices.of(learnt), learnt, BOUNDS)


def test_few_patients_have_no_ranges_and_the_reason_is_stated():
    slices, names = scans(FEWEST - 1)
    said = learnt_domain(slices, names, BOUNDS)
    assert said == f"{FEWEST - 1} patients with a drawn liver; ranges take {FEWEST}"


@pytest.mark.parametrize("target", [Target.NO_TUMOUR, Target.UNKNOWN, Target.BACKGROUND])
def test_patients_without_a_drawn_liver_do_not_count(target):
    slices, names = scans(FEWEST, target=target)
    assert learnt_domain(slices, names, BOUNDS) == "0 patients with a drawn liver; ranges take 20"


def test_slices_that_were_not_drawn_everywhere_do_not_count():
    slices, names = scans(FEWEST)
    slices.target[:, 0, 0] = Target.UNKNOWN
    assert learnt_domain(slices, names, BOUNDS) == "0 patients with a drawn liver; ranges take 20"


def test_sizes_that_were_lost_have_no_range():
    slices, names = scans(FEWEST, pixel_mm=np.nan, slice_mm=np.nan)
    domain = learnt_domain(slices, names, BOUNDS)
    assert {Feature.FIELD, Feature.SLICES}.isdisjoint(domain.ranges)
    assert Feature.LEVEL in domain.ranges
