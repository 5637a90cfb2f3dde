from dataclasses import replace

import numpy as np
import pytest
import torch

from trainer.batches.augmentation import augment
from trainer.batches.data_loader import Batches, Looks, as_scanned, reach_of
from trainer.batches.sampling import Sampler
from trainer.datasets.cases.interpolation import hat_reach
from trainer.datasets.cases.patient_split import take_share
from trainer.datasets.cases.slices import Slices
from trainer.datasets.cases.target import Target
from trainer.datasets.layouts.read_all import read_slices
from trainer.ensemble.graph import EnsembleGraph
from trainer.ensemble.liver_box import box_around
from trainer.ensemble.sampling import sampling
from trainer.recipe.recipe import Batch, Recipe, load_recipe


def call(recipe: Recipe, hu: torch.Tensor, target: torch.Tensor, seed: int = 0):
    return augment(
        hu,
        target,
        torch.tensor([1.5, float("nan")]),
        recipe.augmentation,
        size=96,
        grid_size=96,
        spacing_mm=3.0,
        random=torch.Generator().manual_seed(seed),
    )


@pytest.fixture
def square():
    target = torch.zeros((2, 128, 128), dtype=torch.uint8)
    target[:, 50:80, 40:70] = Target.LIVER
    return target.float() * 120, target


def test_labels_go_where_the_image_goes(tiny_recipe, square):
    hu, target = call(tiny_recipe, *square)
    assert hu.shape == target.shape == (2, 96, 96)
    inside = (hu > 60).numpy()
    both = np.count_nonzero(inside & (target.numpy() == Target.LIVER))
    assert 2 * both / (inside.sum() + np.count_nonzero(target)) > 0.95


def test_the_same_chance_gives_the_same_slices(tiny_recipe, square):
    one, other = call(tiny_recipe, *square), call(tiny_recipe, *square)
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[0], call(tiny_recipe, *square, seed=1)[0])


def test_outside_of_a_slice_is_background_and_unknown_stays_unknown(tiny_recipe):
    target = torch.full((2, 32, 32), int(Target.UNKNOWN), dtype=torch.uint8)
    _, labels = call(tiny_recipe, torch.zeros((2, 32, 32)), target)
    assert set(labels.unique().tolist()) == {Target.BACKGROUND, Target.UNKNOWN}


def test_a_batch_has_what_the_recipe_asks_for(tiny_recipe, data_folder):
    slices = read_slices(data_folder)
    chosen = Sampler(slices, tiny_recipe.batch).draw(np.random.default_rng(0))
    assert len(chosen) == tiny_recipe.batch.size
    assert slices.tumour_pixels[chosen[0]] > 0


def changed(recipe: Recipe, **how: object) -> Recipe:
    """The recipe with nothing but these changes to a slice."""
    still = {"rotation_deg": 0, "scale": 0, "scale_unknown": 0, "shift_mm": 0, "elastic_mm": 0}
    scan = {"gain": 0, "shift_hu": 0, "noise_hu": 0, "soften": False}
    augmentation = recipe.augmentation.model_copy(update=still | scan | how)
    return recipe.model_copy(update={"augmentation": augmentation})


def middle(target: torch.Tensor) -> np.ndarray:
    """Row and column of a slice's liver, from the middle of the slice."""
    return np.argwhere(target.numpy() == Target.LIVER).mean(axis=0) - (target.shape[-1] - 1) / 2


def test_rotations_come_in_the_steps_that_the_recipe_names(tiny_recipe, square):
    recipe = changed(tiny_recipe, rotation_deg=180, rotation_step_deg=10)
    before = middle(call(changed(tiny_recipe), *square)[1][0])
    angles = []
    for seed in range(12):
        after = middle(call(recipe, *square, seed=seed)[1][0])
        turned = np.arctan2(*after) - np.arctan2(*before)
        angles.append(float(np.degrees(turned)) % 360)
    off = [abs(angle - 10 * round(angle / 10)) for angle in angles]
    assert max(off) < 1
    assert len({round(angle / 10) for angle in angles}) > 4


def test_reflections_show_a_slice_from_every_side(tiny_recipe, square):
    recipe = changed(tiny_recipe, reflections=True)
    sides = {tuple(np.sign(middle(call(recipe, *square, seed=s)[1][0]))) for s in range(20)}
    assert len(sides) == 4


def test_a_distorted_grid_takes_the_labels_along(tiny_recipe, square):
    recipe = changed(tiny_recipe, grid_mm=12)
    hu, target = call(recipe, *square)
    assert not torch.equal(target, call(changed(tiny_recipe), *square)[1])
    inside, drawn = (hu > 60).numpy(), (target == Target.LIVER).numpy()
    assert 2 * np.count_nonzero(inside & drawn) / (inside.sum() + drawn.sum()) > 0.95


def test_slices_without_tumour_can_be_left_as_they_were(tiny_recipe, square):
    recipe = changed(tiny_recipe, rotation_deg=90, reflections=True, tumour_only=True)
    hu, target = square
    target[1, 60:64, 50:54] = Target.TUMOUR
    after = call(recipe, hu, target, seed=3)[1]
    before = call(changed(tiny_recipe), hu, target, seed=3)[1]
    assert torch.equal(after[0], before[0])
    assert not torch.equal(after[1], before[1])


def test_a_batch_has_the_shares_of_each_kind_of_slice(data_folder):
    slices = read_slices(data_folder)
    chosen = Sampler(slices, Batch(tumour=2, liver=3, nothing=4)).draw(np.random.default_rng(0))
    tumour, liver = slices.tumour_pixels[chosen] > 0, slices.liver_pixels[chosen] > 0
    assert (tumour.sum(), (liver & ~tumour).sum(), (~liver).sum()) == (2, 3, 4)


def test_small_lesions_have_a_share_of_their_own():
    target = np.zeros((4, 64, 64), np.uint8)
    target[:, 8:56, 8:56] = Target.LIVER
    for index, side in enumerate((10, 22, 10, 0)):  # 17 and 37 mm of disc; unknown; none
        target[index, 10 : 10 + side, 10 : 10 + side] = Target.TUMOUR
    names = np.array(["small", "large", "unscaled", "healthy"])
    pixel_mm = np.array([1.5, 1.5, np.nan, 1.5], np.float32)
    slices = Slices(np.zeros(target.shape, np.int16), target, names, pixel_mm)
    batch = Batch(tumour=0, small=3, liver=1)
    assert batch.size == 4
    assert Sampler(slices, batch).draw(np.random.default_rng(0)).tolist() == [0, 0, 0, 3]


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_smaller_share_of_the_patients_is_part_of_a_larger_one(share, data_folder):
    slices = read_slices(data_folder)
    small, large = (set(take_share(slices, part, 1).patient) for part in (share, share * 2))
    assert small < large
    assert set(take_share(slices, 1.0, 1).patient) == set(slices.patient)


@pytest.mark.parametrize("seed", range(5))
def test_a_share_takes_those_with_tumours_and_those_without_alike(seed):
    target = np.zeros((12, 8, 8), np.uint8)
    target[:, :4] = Target.LIVER
    target[:4, :2] = Target.TUMOUR
    names = np.array([f"p{number:02d}" for number in range(12)])
    slices = Slices(np.zeros(target.shape, np.int16), target, names, np.ones(12, np.float32))
    taken = set(take_share(slices, 0.5, seed).patient)
    assert (len(taken), len(taken & set(names[:4]))) == (6, 2)


def test_hu_keep_their_level_whatever_they_were_clipped_to():
    unchanged = as_scanned(load_recipe("base"))
    hu = torch.full((1, 32, 32), 40.0)
    image, _ = augment(
        hu,
        torch.zeros((1, 32, 32), dtype=torch.uint8),
        torch.tensor([1.0]),
        unchanged,
        size=64,
        grid_size=64,
        spacing_mm=1.0,
        floor_hu=-150.0,
        random=torch.Generator().manual_seed(0),
    )
    assert image[0, 32, 32] == pytest.approx(40)
    assert image[0, 0, 0] == pytest.approx(-150)


@pytest.mark.parametrize("pixel_mm", [0.9, 1.5, 2.0, 4.0])
def test_a_slice_that_is_changed_in_nothing_is_what_the_graph_sees(tiny_recipe, pixel_mm):
    side, working = 128, tiny_recipe.working
    hu = torch.rand((1, side, side), generator=torch.Generator().manual_seed(1)) * 160
    shown, _ = augment(
        hu,
        torch.zeros((1, side, side), dtype=torch.uint8),
        torch.tensor([pixel_mm]),
        as_scanned(tiny_recipe),
        size=working.size,
        grid_size=working.size,
        spacing_mm=working.spacing_mm,
        reach=hat_reach(max(working.spacing_mm / pixel_mm, side / working.size)),
        random=torch.Generator().manual_seed(0),
    )
    graph, spacing = EnsembleGraph([], tiny_recipe), torch.tensor([pixel_mm, pixel_mm])
    _, step = graph._grid(hu, spacing)
    seen = sampling((side, side), spacing, working.size, step).down(hu)[0]
    # Without the rim of the slice, beyond which is air: one way mixes it in.
    rim = (working.size - int(side * pixel_mm / step)) // 2 + 2
    inner = slice(rim, -rim)
    apart = (shown[0] - seen)[inner, inner]
    assert apart.std() < 0.15 * seen[inner, inner].std()


@pytest.mark.parametrize("pixel_mm", [1.0, 2.0])
def test_a_box_lies_where_the_graph_lays_it(tiny_recipe, pixel_mm):
    side, spacing = 128, torch.tensor([pixel_mm, pixel_mm])
    hu = torch.rand((2, side, side), generator=torch.Generator().manual_seed(1)) * 160
    target = torch.zeros((2, side, side), dtype=torch.uint8)
    target[0, 20:50, 70:90] = Target.LIVER  # and none in the other slice
    shown, labels = augment(
        hu,
        target,
        torch.full((2,), pixel_mm),
        as_scanned(tiny_recipe),
        size=64,
        grid_size=64,
        spacing_mm=1.0,
        margin_mm=4.0,
        random=torch.Generator().manual_seed(0),
    )
    box = box_around(target > 0, torch.tensor(pixel_mm), 64, 1.0, 4.0)
    seen = sampling((side, side), spacing, 64, *box).down(hu)
    torch.testing.assert_close(shown[:, 2:-2, 2:-2], seen[:, 2:-2, 2:-2], atol=0.1, rtol=0.01)
    assert float(labels[0].sum() * box.step_mm[0] ** 2) == pytest.approx(600 * pixel_mm**2, rel=0.1)


def test_slices_that_are_finer_than_the_grid_are_smoothed_where_a_batch_is_made(data_folder):
    recipe = load_recipe("base")
    slices = read_slices(data_folder)
    coarse = recipe.model_copy(
        update={"working": recipe.working.model_copy(update={"spacing_mm": 6.0})}
    )
    assert reach_of(slices, coarse) > reach_of(slices, recipe) >= 0
    noise = np.random.default_rng(0).normal(80, 20, slices.hu.shape).astype(np.int16)
    looked_at, _, _ = Looks(coarse, replace(slices, hu=noise))[0]
    still = coarse.model_copy(update={"augmentation": as_scanned(coarse)})
    learnt_from, _ = Batches(still, 1, replace(slices, hu=noise))[0]
    for hu in (looked_at, learnt_from):
        middle = hu.shape[-1] // 2
        # A mean of many pixels, and not one of them.
        assert hu[:, middle - 16 : middle + 16, middle - 16 : middle + 16].std() < 10
