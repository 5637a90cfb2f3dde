import numpy as np
import pytest

from engine.segmentation.liver_search import (
    COARSE_MM,
    FINE_MM,
    around,
    search_steps_mm,
    spread,
)


def test_a_low_volume_is_computed_whole_at_once():
    assert search_steps_mm(59.9) == (0.0,)
    assert spread(5, 2.0, 0.0).all()


@pytest.mark.parametrize("spacing_mm", [0.5, 1.0, 4.0, 7.0, 20.0])
def test_looks_are_never_further_apart_than_asked_where_slices_allow(spacing_mm):
    marked = np.flatnonzero(spread(80, spacing_mm, COARSE_MM))
    assert marked[0] == 0
    assert marked[-1] == 79
    assert np.diff(marked).max() * spacing_mm <= max(COARSE_MM, spacing_mm)


def test_around_a_slice_is_ten_millimetres_to_both_sides():
    seen = np.zeros(40, bool)
    seen[20] = True
    assert np.flatnonzero(around(seen, 2.5)).tolist() == list(range(16, 25))


def test_around_reaches_the_next_slice_however_far_it_is():
    assert around(np.array([False, True, False, False]), 25.0).tolist() == [True, True, True, False]


def test_around_nothing_is_nothing():
    assert not around(np.zeros(3, bool), 0.5).any()


def test_what_lies_between_two_looks_is_around_one_of_them():
    for spacing_mm in (0.6, 1.0, 2.5, 5.0):
        looked = spread(200, spacing_mm, COARSE_MM)
        assert around(looked, spacing_mm).all()


def test_a_volume_of_four_coarse_steps_is_searched_coarsely_first():
    assert search_steps_mm(4 * COARSE_MM) == (COARSE_MM, FINE_MM)


def test_looks_go_from_the_first_slice_to_the_last_in_whole_steps():
    assert np.flatnonzero(spread(9, 4.0, 15.0)).tolist() == [0, 3, 6, 8]
    assert np.flatnonzero(spread(9, 2.5, 5.0)).tolist() == [0, 2, 4, 6, 8]
    assert spread(3, 20.0, 15.0).tolist() == [True] * 3
    assert spread(0, 2.0, 15.0).tolist() == []
    assert spread(4, 2.0, 15.0).dtype == around(np.ones(4, bool), 2.0).dtype == np.bool_


def test_around_the_ends_stays_within_the_volume():
    seen = np.zeros(12, bool)
    seen[[0, 11]] = True
    assert np.flatnonzero(around(seen, 2.5)).tolist() == [0, 1, 2, 3, 4, 7, 8, 9, 10, 11]
