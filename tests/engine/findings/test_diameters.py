import math

import numpy as np
import pytest

from engine.findings.diameters import diameters

SQUARE = 1.0, 1.0


def disc(radius, centre=(40, 40), shape=(81, 81), spacing=SQUARE):
    rows, columns = np.indices(shape)
    return np.hypot((rows - centre[0]) * spacing[0], (columns - centre[1]) * spacing[1]) <= radius


@pytest.mark.parametrize("radius", [3, 10, 25.5])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 1.3)])
def test_a_disc_is_as_wide_as_it_is_within_a_pixel(radius, spacing):
    found = diameters(disc(radius, spacing=spacing), spacing)
    assert found.longest.mm == pytest.approx(2 * radius, abs=max(spacing))
    assert found.perpendicular.mm == pytest.approx(2 * radius, abs=2 * max(spacing))


def test_a_row_of_pixels_is_as_long_as_its_pixels_are():
    mask = np.zeros((5, 14), np.bool_)
    mask[2, 3:13] = True
    found = diameters(mask, (2.0, 0.5))
    assert (found.longest.start, found.longest.end) == ((2.0, 2.5), (2.0, 12.5))
    assert found.longest.mm == pytest.approx(5.0)
    assert found.perpendicular.mm == pytest.approx(2.0)


def test_a_single_pixel_has_its_own_size():
    found = diameters(np.ones((1, 1), np.bool_), (0.8, 0.5))
    assert (found.longest.mm, found.perpendicular.mm) == pytest.approx((0.8, 0.5))


@pytest.mark.parametrize("degrees", [0, 17, 30, 45, 80])
def test_an_ellipse_has_its_axes_however_it_is_turned(degrees):
    rows, columns = np.indices((121, 121)) - 60
    angle = math.radians(degrees)
    along = columns * math.cos(angle) + rows * math.sin(angle)
    across = rows * math.cos(angle) - columns * math.sin(angle)
    found = diameters((along / 50) ** 2 + (across / 20) ** 2 <= 1, SQUARE)
    assert found.longest.mm == pytest.approx(100, abs=1)
    assert found.perpendicular.mm == pytest.approx(40, abs=1.5)


def test_the_two_diameters_stand_at_a_right_angle_and_neither_is_longer_than_the_longest():
    rng = np.random.default_rng(3)
    for _ in range(30):
        mask = rng.random((9, 12)) > 0.8
        mask[4, 5] = True
        found = diameters(mask, (0.7, 1.1))
        a, b = (
            (np.array(line.end) - line.start) * (0.7, 1.1)
            for line in (found.longest, found.perpendicular)
        )
        assert a @ b == pytest.approx(0, abs=1e-6)
        assert found.perpendicular.mm <= found.longest.mm + 1e-6


def test_the_longest_diameter_is_the_greatest_distance_of_any_two_edges():
    rng = np.random.default_rng(4)
    for _ in range(20):
        mask = rng.random((7, 8)) > 0.7
        mask[3, 3] = True
        steps = [(0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)]
        edges = (np.argwhere(mask)[:, None] + steps).reshape(-1, 2) * (0.7, 1.1)
        farthest = np.hypot(*(edges[:, None] - edges).transpose(2, 0, 1)).max()
        assert diameters(mask, (0.7, 1.1)).longest.mm == pytest.approx(farthest)
