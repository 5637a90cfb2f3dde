"""Figures of one volume for a table."""

import numpy as np
import pytest

from engine.findings.measure import measure
from engine.findings.summary import summarize
from engine.volume import Geometry, Label, LabelMap, Volume

SHAPE = (12, 20, 30)
SPACING = 2.0, 0.5, 0.8


def summary_of(*lesions, places=None, most=30):
    """Return the summary of a liver that fills the grid but its rim, with lesions drawn in it."""
    affine = np.diag([*SPACING, 1.0])[[2, 1, 0, 3]]  # (slice, row, column) to x, y, z
    grid = Geometry(SHAPE, affine, "1.2.3", places)
    labels, hu = np.zeros(SHAPE, np.uint8), np.full(SHAPE, 60, np.int16)
    labels[1:-1, 1:-1, 1:-1] = Label.LIVER
    for place, density in lesions:
        labels[place], hu[place] = Label.TUMOUR, density
    label_map = LabelMap(labels, grid)
    return summarize(measure(Volume(hu, grid), label_map), label_map, most)


LARGE, SMALL = (np.s_[9, 2:5, 2:7], 20), (np.s_[2, 16, 25:27], 35)
"""Place and density."""


def test_a_summary_has_the_grid_and_the_volumes():
    found = summary_of(LARGE)
    assert (found.slices, found.rows, found.columns) == SHAPE
    assert found.spacing_mm == pytest.approx(SPACING)
    assert found.liver_ml == pytest.approx(10 * 18 * 28 * 0.0008)
    assert found.tumour_ml == pytest.approx(15 * 0.0008)
    assert found.burden_percent == pytest.approx(100 * 15 / (10 * 18 * 28))


def test_a_lesion_has_its_place_size_density_and_slice():
    large, small = summary_of(LARGE, SMALL).lesions
    assert (large.number, large.position, large.slice_number) == (1, "right, anterior, upper", 10)
    assert (small.number, small.position, small.slice_number) == (2, "left, posterior, lower", 3)
    assert (large.mean_hu, small.mean_hu) == (20, 35)
    assert large.volume_ml == pytest.approx(15 * 0.0008)
    assert large.longest_mm > large.perpendicular_mm > 0
    assert (large.z_mm, small.z_mm) == pytest.approx((18, 4))


def test_slices_at_changing_distances_are_counted_and_the_liver_reaches_the_last():
    """The last slices lie far apart: the tenth is the twelfth step of the affine, in the middle."""
    places = (*range(9), 11.0, 20.0, 29.0)
    (lesion,) = summary_of(LARGE, places=places).lesions
    assert lesion.slice_number == 10
    assert lesion.position == "right, anterior"


def test_lesions_beyond_the_most_are_counted():
    found = summary_of(LARGE, SMALL, most=1)
    assert [each.number for each in found.lesions] == [1]
    assert found.hidden == 1
