import numpy as np
import pytest

from engine.segmentation.liver_level import (
    ABOVE_HU,
    BELOW_HU,
    LEAST_MM2,
    MOST_HU,
    LiverLevel,
    shift_to,
)
from engine.segmentation.segment import segment
from engine.volume import Label
from tests.engine.segmentation.test_segment import Witness, make_abdomen
from tests.engine.toy_model import LIVER_HU, TUMOUR_HU


class Levelled(Witness):
    """The toy model, if it had learnt from livers of one level."""

    def __init__(self, liver_hu):
        super().__init__()
        self.liver_hu = liver_hu


def level_of(hu, labels, pixel_mm2=1.0):
    level = LiverLevel(pixel_mm2)
    level.add(np.asarray(hu, np.int16), np.asarray(labels, np.uint8))
    return level.hu


def noisy(random, hu, count):
    return np.rint(random.normal(hu, 15, count))


@pytest.mark.parametrize("hu", [12, 29, 58, 100, 163])
def test_the_level_is_that_of_the_liver_through_noise(hu):
    values = noisy(np.random.default_rng(1), hu, 20_000)
    assert level_of(values, np.full(20_000, Label.LIVER)) == pytest.approx(hu, abs=4)


def test_vessels_and_missed_tumours_do_not_move_it():
    random = np.random.default_rng(2)
    parts = [noisy(random, 60, 6000), noisy(random, 150, 2000), noisy(random, 20, 2000)]
    values = np.concatenate(parts)
    assert level_of(values, np.full(10_000, Label.LIVER)) == pytest.approx(60, abs=4)


def test_marked_tumours_have_no_say_however_large():
    random = np.random.default_rng(3)
    values = np.concatenate([noisy(random, 105, 4000), noisy(random, 40, 16_000)])
    labels = np.repeat([Label.LIVER, Label.TUMOUR], [4000, 16_000])
    assert level_of(values, labels) == pytest.approx(105, abs=4)


def test_padding_and_metal_have_no_say():
    values = np.repeat([-3024, 32767, 70], [9000, 9000, 5000])
    assert level_of(values, np.full(23_000, Label.LIVER)) == pytest.approx(70, abs=1)


def test_too_little_liver_has_no_level():
    count = 1000
    enough_mm2 = LEAST_MM2 / count
    values, labels = np.full(count, 40), np.full(count, Label.LIVER)
    assert level_of(values, labels, enough_mm2) == pytest.approx(40, abs=1)
    assert level_of(values, labels, enough_mm2 * 0.99) is None


@pytest.mark.parametrize(
    ("found", "shift"),
    [(None, 0), (100, 0), (100 - BELOW_HU, 0), (100 + ABOVE_HU, 0), (29, 46), (74, 1), (160, -10)],
)
def test_the_shift_is_what_is_missing(found, shift):
    assert shift_to(100.0, found) == shift


def test_the_shift_is_bounded():
    assert shift_to(100.0, -40.0) == MOST_HU
    assert shift_to(100.0, 240.0) == -MOST_HU


@pytest.fixture
def pale(make_volume):
    """A liver and a tumour 30 HU below those of the toy model, 10 HU below what it marks."""
    volume = make_volume(make_abdomen(make_volume).hu, (2.5, 2.0, 2.0))
    volume.hu[volume.hu > 0] -= 30
    volume.hu[80:90, 10:14, 12:16] = TUMOUR_HU - 60
    return volume


def test_a_volume_is_shifted_to_the_level_of_the_model(pale, make_volume):
    device = Levelled(LIVER_HU + BELOW_HU)
    found = segment(pale, device)
    assert (found.liver_hu, found.shift_hu) == (pytest.approx(LIVER_HU - 30, abs=1), 30)
    shifted = make_volume(pale.hu + 30, pale.geometry.spacing)
    expected = segment(shifted, Witness())
    np.testing.assert_array_equal(found.label_map.labels, expected.label_map.labels)
    assert found.agreement == expected.agreement
    assert (found.label_map.labels == Label.TUMOUR).any()
    assert not (segment(pale, Witness()).label_map.labels == Label.TUMOUR).any()


def test_a_liver_near_the_level_stays_as_it_is(make_volume):
    volume = make_volume(make_abdomen(make_volume).hu, (2.5, 2.0, 2.0))
    device = Levelled(LIVER_HU - ABOVE_HU)
    found, usual = segment(volume, device), segment(volume, Witness())
    np.testing.assert_array_equal(found.label_map.labels, usual.label_map.labels)
    assert found.shift_hu == 0
    assert found.slices_computed == usual.slices_computed == len(device.hu)


def test_the_search_is_computed_again_and_counted(pale):
    told = []
    device = Levelled(LIVER_HU + BELOW_HU)
    found = segment(pale, device, lambda done, needed: told.append((done, needed)))
    assert found.slices_computed == len(device.hu) > segment(pale, Witness()).slices_computed
    assert told == sorted(told)
    assert told[-1] == (found.slices_computed, found.slices_computed)


def test_one_slice_is_shifted_too(make_volume):
    hu = np.full((1, 60, 60), -50)
    hu[0, 5:55, 5:55] = LIVER_HU - 30
    found = segment(make_volume(hu, (5.0, 1.0, 1.0)), Levelled(LIVER_HU + BELOW_HU))
    assert found.shift_hu == 30
    assert np.count_nonzero(found.label_map.labels) == 2500


def test_what_the_shift_takes_below_the_bounds_stays_at_them(make_volume):
    hu = np.full((1, 60, 60), -3024)
    hu[0, 5:55, 5:55] = LIVER_HU + 40
    hu[0, 0] = 32767
    device = Levelled(float(LIVER_HU - 20))
    assert segment(make_volume(hu, (5.0, 1.0, 1.0)), device).shift_hu == -10
    assert device.hu[-1].min() == -1024
    assert device.hu[-1].max() == 2048


def test_a_volume_without_liver_has_no_level(make_volume):
    found = segment(make_volume(np.full((90, 6, 7), 40), (2.0, 0.8, 0.7)), Levelled(150.0))
    assert (found.liver_hu, found.shift_hu) == (None, 0)
