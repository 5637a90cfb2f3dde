"""Augmentation has the distributions that a recipe states, on whatever device makes the batches.

All chance is seeded, so nothing here fails at random; each test fails where its augmentation is
left out, halved or doubled. Synthetic tumours have such tests in `test_batch_planting`.
"""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, uniform

from trainer.batches.augmentation import augment
from trainer.datasets.cases.target import Target
from trainer.recipe.recipe import Augmentation, load_recipe

COUNT, SIDE, MM = 300, 48, 4.0
UNLIKELY = 0.01
"""Of the Kolmogorov-Smirnov test; a distribution a fifth wider than stated comes to less."""

BASE = load_recipe("base").augmentation
STILL = {
    "rotation_deg": 0.0,
    "scale": 0.0,
    "scale_unknown": 0.0,
    "shift_mm": 0.0,
    "elastic_mm": 0.0,
    "gain": 0.0,
    "shift_hu": 0.0,
    "noise_hu": 0.0,
    "soften": False,
}


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def place(request) -> torch.device:
    return torch.device(request.param)


def only(*kept: str, **changes: object) -> Augmentation:
    """`base` with nothing but what is named, as strong as there, and the changes."""
    still = {name: value for name, value in STILL.items() if name not in kept}
    return BASE.model_copy(update=still | changes)


def after(hu: torch.Tensor, how: Augmentation, place: torch.device, mm: float = MM) -> np.ndarray:
    """A slice, made `COUNT` times, each by chance of its own; (count, rows, columns)."""
    shown, _ = augment(
        hu.to(place).expand(COUNT, -1, -1),
        torch.full((COUNT, SIDE, SIDE), int(Target.LIVER), dtype=torch.uint8, device=place),
        torch.full((COUNT,), mm, device=place),
        how,
        size=SIDE,
        grid_size=SIDE,
        spacing_mm=MM,
        floor_hu=-1000.0,
        ceiling_hu=3000.0,
        random=torch.Generator(place).manual_seed(7),
    )
    return shown.double().cpu().numpy()


def axis_mm() -> torch.Tensor:
    return (torch.arange(SIDE) - (SIDE - 1) / 2) * MM


def where_from(how: Augmentation, place: torch.device, mm: float = MM):
    """Where the inner pixels come from, in mm: (count, pixels, x and y), and where they are."""
    # Slices whose values are their own coordinates; the same seed moves both alike.
    pixels = axis_mm() * (BASE.unknown_pixel_mm if math.isnan(mm) else mm) / MM
    x = after(pixels.expand(SIDE, SIDE), how, place, mm)
    y = after(pixels[:, None].expand(SIDE, SIDE), how, place, mm)
    # What lies within the slice even if it is turned, shifted and shrunk.
    inner = slice(SIDE // 2 - 4, SIDE // 2 + 4)
    grid = np.meshgrid(axis_mm()[inner], axis_mm()[inner])
    moved = np.stack([x[:, inner, inner], y[:, inner, inner]], -1).reshape(COUNT, -1, 2)
    return moved, np.stack(grid, -1).reshape(-1, 2)


def affine(how: Augmentation, place: torch.device, mm: float = MM) -> tuple[np.ndarray, ...]:
    """Angles in degrees, logarithms of the zoom, and shifts (count, 2) in mm."""
    moved, grid = where_from(how, place, mm)
    known = np.concatenate([grid, np.ones((len(grid), 1))], axis=1)
    fitted = np.linalg.lstsq(known, moved.transpose(1, 0, 2).reshape(len(grid), -1), rcond=None)[0]
    matrix = fitted.reshape(3, COUNT, 2).transpose(1, 0, 2)
    turn, shift = matrix[:, :2], matrix[:, 2]
    angle = np.degrees(np.arctan2(turn[:, 1, 0], turn[:, 0, 0]))
    return angle, -np.log(np.linalg.det(turn)) / 2, shift


def assert_even(values: np.ndarray, low: float, high: float) -> None:
    """Values are spread evenly between two bounds."""
    assert kstest(values, uniform(low, high - low).cdf).pvalue > UNLIKELY


def test_slices_are_turned_scaled_and_shifted_as_far_as_the_recipe_states(place):
    how = only("rotation_deg", "scale", "shift_mm")
    angle, zoom, shift = affine(how, place)
    assert_even(angle, -BASE.rotation_deg, BASE.rotation_deg)
    assert_even(zoom, -BASE.scale, BASE.scale)
    for axis in (0, 1):
        assert_even(shift[:, axis], -BASE.shift_mm, BASE.shift_mm)
    # Each by chance of its own.
    together = np.abs(np.corrcoef([angle, zoom, *shift.T]) - np.eye(4))
    assert together.max() < 0.15


def test_slices_of_unknown_pixel_size_are_scaled_by_a_bound_of_their_own(place):
    _, zoom, _ = affine(only("scale", "scale_unknown"), place, math.nan)
    assert_even(zoom, -BASE.scale_unknown, BASE.scale_unknown)


def test_slices_are_bent_as_far_as_the_recipe_states(place):
    moved, grid = where_from(only("elastic_mm"), place)
    bent = moved - grid
    # Bicubic weights between knots of deviation 1 leave a deviation of 0.78; the strength is even
    # between none and all, whose mean square is 1/3.
    expected = BASE.elastic_mm * 0.78 / math.sqrt(3)
    assert np.sqrt(np.square(bent).mean()) == pytest.approx(expected, rel=0.12)
    strength = np.sqrt(np.square(bent).mean(axis=(1, 2))) / BASE.elastic_mm
    assert np.percentile(strength, [10, 50, 90]) == pytest.approx([0.06, 0.36, 0.77], abs=0.12)
    # A bend, not a shift: pixels far apart are moved by different ways.
    assert np.abs(bent - bent.mean(axis=1, keepdims=True)).mean() > 0.1 * BASE.elastic_mm


def test_contrast_and_level_change_as_far_as_the_recipe_states(place):
    levels = torch.full((SIDE, SIDE), 40.0)
    levels[:, SIDE // 2 :] = 120.0
    shown = after(levels, only("gain", "shift_hu"), place)
    dark, bright = shown[:, :, 4], shown[:, :, -4]
    gain = np.log((bright - dark).mean(axis=1) / 80)
    assert_even(gain, -BASE.gain, BASE.gain)
    assert_even((bright + dark).mean(axis=1) / 2 - 80, -BASE.shift_hu, BASE.shift_hu)


def test_noise_is_as_strong_as_the_recipe_states(place):
    level = after(torch.full((SIDE, SIDE), 60.0), only("noise_hu"), place).std(axis=(1, 2))
    # The square of an even number: most slices get little noise.
    assert_even(np.sqrt(level / BASE.noise_hu), 0, 1)


def test_noise_is_normal_and_without_neighbours(place):
    noise = after(torch.full((SIDE, SIDE), 60.0), only("noise_hu"), place) - 60
    noise = noise / noise.std(axis=(1, 2), keepdims=True)
    assert kstest(noise[:, ::7, ::7].ravel()[:4000], "norm").pvalue > UNLIKELY
    assert abs((noise[:, 1:] * noise[:, :-1]).mean()) < 0.01


def test_half_of_the_slices_are_softened_and_those_by_any_strength(place):
    point = torch.zeros((SIDE, SIDE))
    point[20, 20] = 90.0
    strength = (90 - after(point, only("soften"), place)[:, 20, 20]) / 80  # 8/9 of 90
    softened = strength > 1e-3
    assert softened.mean() == pytest.approx(0.5, abs=0.06)
    assert_even(strength[softened], 0, 1)


def test_reflections_show_each_side_alike(place):
    _, _, shift = affine(only(), place)
    assert np.abs(shift).max() < 0.01
    moved, grid = where_from(only(reflections=True), place)
    flips = np.sign((moved * grid).mean(axis=1))
    assert (flips > 0).mean(axis=0) == pytest.approx([0.5, 0.5], abs=0.07)
    assert abs(np.corrcoef(flips.T)[0, 1]) < 0.15


def test_lines_of_a_grid_move_as_far_as_the_recipe_states(place):
    moved, grid = where_from(only(grid_mm=10.0), place)
    far = moved - grid
    assert 7 < np.abs(far).max() <= 10
    # Linear between lines that are even in -1 and 1: a deviation of 0.577 * sqrt(2/3).
    assert np.sqrt(np.square(far).mean()) == pytest.approx(10 * 0.577 * math.sqrt(2 / 3), rel=0.12)


def test_a_whole_recipe_has_all_of_them_at_once(place):
    # Contrast and noise would pass for motion here.
    moved_only = {"gain": 0.0, "noise_hu": 0.0, "shift_hu": 0.0, "soften": False}
    angle, zoom, shift = affine(BASE.model_copy(update=moved_only), place)
    # Bending adds to all three.
    assert angle.std() == pytest.approx(BASE.rotation_deg / math.sqrt(3), rel=0.35)
    assert zoom.std() == pytest.approx(BASE.scale / math.sqrt(3), rel=0.35)
    assert shift.std() == pytest.approx(BASE.shift_mm / math.sqrt(3), rel=0.2)


def test_slices_without_tumour_may_stay_as_they_were(place):
    how = BASE.model_copy(update={"tumour_only": True})
    hu = torch.full((SIDE, SIDE), 60.0)
    hu[10:20, 10:30] = 110.0
    before = after(hu, only(), place)
    np.testing.assert_allclose(after(hu, how, place), before, atol=1e-3)
