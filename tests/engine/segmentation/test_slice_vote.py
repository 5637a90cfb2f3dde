import numpy as np
import pytest

from engine.segmentation.slice_vote import majority_vote
from engine.volume import Geometry, Label, LabelMap


def voted(labels, spacing_mm=2.0):
    affine = np.diag([spacing_mm, 1.0, 1.0, 1.0])
    return majority_vote(LabelMap(labels, Geometry(labels.shape, affine, "1.2.3"))).labels


@pytest.fixture
def labels():
    """A block of liver through all slices, with a tumour in two of them."""
    drawn = np.zeros((9, 12, 12), np.uint8)
    drawn[:, 2:10, 2:8] = Label.LIVER
    drawn[2:4, 4:6, 4:6] = Label.TUMOUR
    return drawn


def test_what_all_slices_show_stays_with_its_tumours(labels):
    np.testing.assert_array_equal(voted(labels), labels)


def test_neighbours_outvote_what_one_slice_alone_shows_or_misses(labels):
    odd = labels.copy()
    odd[6] = Label.BACKGROUND
    odd[1, 2:10, 8:11] = Label.LIVER
    odd[7, 0:2, 0:2] = Label.TUMOUR
    np.testing.assert_array_equal(voted(odd), labels)


def test_what_two_slices_show_is_not_outvoted(labels):
    labels[5:7, 2:10, 8:11] = Label.LIVER
    np.testing.assert_array_equal(voted(labels), labels)


@pytest.mark.parametrize(("spacing_mm", "votes"), [(4.0, True), (4.1, False), (5.0, False)])
def test_slices_vote_up_to_four_millimetres_apart(labels, spacing_mm, votes):
    odd = labels.copy()
    odd[6] = Label.BACKGROUND
    np.testing.assert_array_equal(voted(odd, spacing_mm), labels if votes else odd)


def test_the_ends_of_the_volume_stay_as_they_are():
    labels = np.zeros((5, 4, 4), np.uint8)
    labels[0] = labels[-1] = Label.LIVER
    np.testing.assert_array_equal(voted(labels), labels)


@pytest.mark.parametrize("slices", [1, 2])
def test_too_few_slices_to_vote_stay_as_they_are(slices):
    labels = np.ones((slices, 4, 4), np.uint8)
    np.testing.assert_array_equal(voted(labels), labels)


def test_the_labels_that_were_given_are_not_changed(labels):
    labels[6] = Label.BACKGROUND
    before = labels.copy()
    voted(labels)
    np.testing.assert_array_equal(labels, before)
