import numpy as np
import pytest
import torch
from scipy import ndimage

from tests.trainer.batches.test_augmentation import call
from trainer.datasets.cases.target import Target
from trainer.synthetic.batch import plant_some
from trainer.synthetic.lesion import draw_lesion
from trainer.synthetic.planting import APART_MM, plant_tumours

SEEDS = range(12)


@pytest.fixture(scope="module")
def slice_():
    """A liver with a real tumour in it, noise and a bright vessel."""
    rows, columns = np.indices((160, 160))
    target = np.zeros((160, 160), np.uint8)
    target[np.hypot(rows - 80, columns - 70) < 55] = Target.LIVER
    hu = np.where(target > 0, 100.0, -60.0) + np.random.default_rng(0).normal(0, 12, target.shape)
    hu[78:82, 20:120] += 40
    tumour = np.hypot(rows - 60, columns - 50) < 9
    hu[tumour] -= 50
    target[tumour] = Target.TUMOUR
    return hu.astype(np.float32), target


def planted(slice_, seed, pixel_mm=1.4):
    hu, target = plant_tumours(*slice_, pixel_mm, np.random.default_rng(seed))
    return hu, target, (target == Target.TUMOUR) & (slice_[1] != Target.TUMOUR)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_changes_outside_of_the_liver_or_in_a_real_tumour(slice_, seed):
    hu, target, _ = planted(slice_, seed)
    kept = slice_[1] != Target.LIVER
    assert np.array_equal(hu[kept], slice_[0][kept])
    assert np.array_equal(target[kept], slice_[1][kept])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_tumour_keeps_away_from_a_real_one(slice_, seed):
    _, _, new = planted(slice_, seed)
    away = ndimage.distance_transform_edt(slice_[1] != Target.TUMOUR)
    assert not new.any() or away[new].min() * 1.4 > APART_MM


def test_no_large_tumour_is_cut_to_a_thin_liver(slice_):
    strip = np.zeros_like(slice_[1])
    strip[78:82] = Target.LIVER
    lengths = [
        part[1].stop - part[1].start
        for seed in range(40)
        for part in ndimage.find_objects(ndimage.label(planted((slice_[0], strip), seed)[2])[0])
    ]
    assert len(lengths) > 10
    assert max(lengths) < 20


def test_planted_tumours_are_darker_than_the_liver_and_as_noisy(slice_):
    liver = slice_[0][(slice_[1] == Target.LIVER)]
    tumours = [
        hu[new] for hu, _, new in (planted(slice_, seed) for seed in range(40)) if new.sum() > 80
    ]
    contrast = [np.median(liver) - np.median(tumour) for tumour in tumours]
    assert len(tumours) > 15
    assert 18 < np.median(contrast) < 45
    assert 8 < np.median([tumour.std() for tumour in tumours]) < 25


def test_diameters_are_those_of_real_tumours():
    random = np.random.default_rng(0)
    diameters = [draw_lesion(random).diameter_mm for _ in range(2000)]
    assert np.percentile(diameters, [10, 50, 90]) == pytest.approx([6.4, 16, 40], rel=0.1)


def test_the_same_chance_plants_the_same_tumours(slice_):
    one, other = planted(slice_, 5), planted(slice_, 5)
    assert np.array_equal(one[0], other[0])
    assert not np.array_equal(one[0], planted(slice_, 6)[0])


def test_a_slice_without_liver_stays_as_it_is(slice_):
    empty = np.zeros_like(slice_[1])
    hu, target, _ = planted((slice_[0], empty), 0)
    assert np.array_equal(hu, slice_[0])
    assert not target.any()


def test_what_was_not_drawn_stays_unknown_around_a_planted_tumour(slice_):
    target = np.where(slice_[1] > 0, np.uint8(Target.LIVER_OR_TUMOUR), slice_[1])
    _, labels, new = planted((slice_[0], target), 1)
    assert new.any()
    assert set(np.unique(labels[~new])) == {Target.BACKGROUND, Target.LIVER_OR_TUMOUR}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_looks_like_a_tumour_that_nobody_has_drawn_is_left_alone(slice_, seed):
    target = np.where(slice_[1] > 0, np.uint8(Target.LIVER_OR_TUMOUR), slice_[1])
    _, _, new = planted((slice_[0], target), seed)
    assert not (new & (slice_[1] == Target.TUMOUR)).any()


def test_about_as_many_slices_get_tumours_as_the_recipe_asks_for(slice_):
    hu, target = (torch.from_numpy(np.stack([array] * 30)) for array in slice_)
    random = torch.Generator().manual_seed(0)
    _, labels = plant_some(hu, target, torch.full((30,), 1.4), 0.5, random)
    changed = int((labels != target).any(dim=2).any(dim=1).sum())
    assert 8 <= changed <= 22
    assert (target == torch.from_numpy(slice_[1])).all()  # what was given is not changed


def test_slices_that_stand_alone_are_planted_as_before_there_were_slabs(slice_):
    hu, target = (torch.from_numpy(np.stack([array] * 6)) for array in slice_)
    random = torch.Generator().manual_seed(3)
    shown, labels = plant_some(hu, target, torch.full((6,), 1.4), 0.6, random)
    assert [int((each == Target.TUMOUR).sum()) for each in labels] == TUMOUR_PIXELS
    assert shown.double().sum() == pytest.approx(SUM_HU, abs=0.5)


TUMOUR_PIXELS, SUM_HU = [314, 373, 444, 859, 278, 259], -124382.3


def test_a_recipe_plants_tumours_only_where_it_says_so(tiny_recipe, slice_):
    hu, target = (torch.from_numpy(np.stack([array] * 2)) for array in slice_)
    healthy = torch.where(target == Target.TUMOUR, int(Target.LIVER), target)
    more = tiny_recipe.augmentation.model_copy(update={"synthetic_tumour": 1.0})
    recipe = tiny_recipe.model_copy(update={"augmentation": more})
    assert not (call(tiny_recipe, hu, healthy)[1] == Target.TUMOUR).any()
    assert (call(recipe, hu, healthy)[1] == Target.TUMOUR).any()
