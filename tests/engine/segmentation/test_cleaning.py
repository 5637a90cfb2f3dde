import numpy as np
import pytest

from engine.segmentation.cleaning import clean
from engine.volume import Geometry, Label, LabelMap

VOXEL_MM3 = 2.0


@pytest.fixture
def labels():
    """A liver of 18x18x18 voxels with a tumour of 4x4x4 in it."""
    drawn = np.zeros((24, 26, 28), np.uint8)
    drawn[3:21, 4:22, 5:23] = Label.LIVER
    drawn[8:12, 9:13, 10:14] = Label.TUMOUR
    return drawn


def cleaned(labels, **options):
    geometry = Geometry(labels.shape, np.diag([2.0, 1.0, 1.0, 1.0]), "1.2.3")
    return clean(LabelMap(labels, geometry), **options).labels


def test_a_clean_map_stays_as_it_is(labels):
    np.testing.assert_array_equal(cleaned(labels), labels)


def test_cleaning_twice_is_cleaning_once(labels):
    rng = np.random.default_rng(0)
    noisy = np.where(rng.random(labels.shape) < 0.2, rng.integers(0, 3, labels.shape), labels)
    once = cleaned(noisy.astype(np.uint8))
    np.testing.assert_array_equal(cleaned(once), once)


def test_the_map_that_was_given_is_not_changed(labels):
    labels[0, 0, 0] = Label.LIVER
    before = labels.copy()
    cleaned(labels)
    np.testing.assert_array_equal(labels, before)


def test_nothing_stays_nothing():
    assert not cleaned(np.zeros((3, 4, 5), np.uint8)).any()


def test_only_the_largest_piece_of_liver_stays(labels):
    noisy = labels.copy()
    noisy[0:2, 0:2, 0:2] = Label.LIVER
    np.testing.assert_array_equal(cleaned(noisy), labels)


def test_a_touch_at_a_corner_does_not_join(labels):
    noisy = labels.copy()
    noisy[0:3, 0:4, 0:5] = Label.LIVER
    np.testing.assert_array_equal(cleaned(noisy), labels)


def test_a_tumour_outside_the_liver_goes(labels):
    noisy = labels.copy()
    noisy[0:2, 0:6, 0:6] = Label.TUMOUR
    np.testing.assert_array_equal(cleaned(noisy), labels)


def test_a_tumour_at_the_edge_of_the_liver_stays(labels):
    labels[10:14, 10:14, 20:26] = Label.TUMOUR
    np.testing.assert_array_equal(cleaned(labels), labels)


def test_a_hole_in_the_liver_is_liver(labels):
    holed = labels.copy()
    holed[15:17, 15:17, 15:17] = Label.BACKGROUND
    np.testing.assert_array_equal(cleaned(holed), labels)


def test_a_hole_in_a_tumour_is_tumour(labels):
    holed = labels.copy()
    holed[9:11, 10:12, 11:13] = Label.BACKGROUND
    np.testing.assert_array_equal(cleaned(holed), labels)


def test_liver_in_a_tumour_stays_liver(labels):
    labels[9:11, 10:12, 11:13] = Label.LIVER
    np.testing.assert_array_equal(cleaned(labels, smallest_tumour_mm3=0), labels)


def test_a_bay_of_the_liver_is_no_hole(labels):
    labels[15, 15, 15:] = Label.BACKGROUND
    np.testing.assert_array_equal(cleaned(labels), labels)


@pytest.mark.parametrize(("smallest_mm3", "kind"), [(8.0, Label.TUMOUR), (8.1, Label.LIVER)])
def test_a_tumour_below_the_smallest_becomes_liver(labels, smallest_mm3, kind):
    labels[16:18, 16:18, 16] = Label.TUMOUR  # 4 voxels of 2 mm³
    assert (cleaned(labels, smallest_tumour_mm3=smallest_mm3)[16:18, 16:18, 16] == kind).all()
