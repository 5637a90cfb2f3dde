"""Synthetic tumours that go through a slice and its neighbours."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from engine.phantom import make_phantom
from trainer.batches.data_loader import Batches
from trainer.datasets.cases.slices import Slices
from trainer.datasets.cases.target import Target
from trainer.errors import BadData
from trainer.recipe.recipe import Recipe
from trainer.synthetic import planting
from trainer.synthetic.batch import plant_some
from trainer.synthetic.lesion import Body, Lesion, draw_body
from trainer.synthetic.planting import APART_MM, plant, plant_tumours
from trainer.synthetic.slab import Beside, Slab, stacked

SEEDS = range(8)
MM = 1.4


def make_slab(*away_mm: float, ill: dict[float, tuple[int, int]] | None = None) -> Slab:
    """A liver in slices that lie so far from their own, with real tumours in some of them."""
    rows, columns = np.indices((128, 128))
    liver = np.hypot(rows - 64, columns - 60) < 50
    target = np.stack([np.where(liver, Target.LIVER, Target.BACKGROUND)] * len(away_mm))
    noise = np.random.default_rng(0).normal(0, 12, target.shape)
    hu = np.where(target > 0, 100.0, -60.0) + noise
    for place, (row, column) in (ill or {}).items():
        tumour = np.hypot(rows - row, columns - column) < 12
        target[away_mm.index(place)][tumour] = Target.TUMOUR
        hu[away_mm.index(place)][tumour] -= 50
    places = np.array(away_mm, np.float32)
    return Slab(hu.astype(np.float32), target.astype(np.uint8), places, MM)


def new(before: Slab, after: Slab) -> np.ndarray:
    return (after.target == Target.TUMOUR) & (before.target != Target.TUMOUR)


def planted(slab: Slab, seed: int) -> Slab:
    return plant(slab, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_one_tumour_is_planted_as_if_the_slice_that_is_learnt_from_stood_alone(seed, monkeypatch):
    monkeypatch.setattr(planting, "MOST", 1)  # of two, the first may take the second's neighbours
    slab = make_slab(-5, 0, 5)
    own = planted(slab, seed)
    hu, target = plant_tumours(slab.hu[1], slab.target[1], MM, np.random.default_rng(seed))
    np.testing.assert_array_equal(own.target[1], target)
    np.testing.assert_array_equal(own.hu[1], hu)


@pytest.mark.parametrize("away_mm", [2.0, 5.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_no_slice_gets_a_tumour_where_it_has_one_or_outside_of_its_liver(seed, away_mm):
    slab = make_slab(-away_mm, 0, away_mm, ill={-away_mm: (50, 40), 0: (80, 80), away_mm: (64, 60)})
    after = planted(slab, seed)
    kept = slab.target != Target.LIVER
    np.testing.assert_array_equal(after.hu[kept], slab.hu[kept])
    np.testing.assert_array_equal(after.target[kept], slab.target[kept])
    for target, tumours in zip(slab.target, new(slab, after), strict=True):
        away = ndimage.distance_transform_edt(target != Target.TUMOUR)
        assert not tumours.any() or away[tumours].min() * MM > APART_MM


def test_nothing_is_planted_right_over_a_real_tumour():
    slab = make_slab(0, 2, ill={2: (64, 60)})
    real = slab.target[1] == Target.TUMOUR
    touched = [(new(slab, planted(slab, seed))[0] & real).any() for seed in range(40)]
    assert not any(touched)
    alone = make_slab(0)
    assert any((new(alone, planted(alone, seed))[0] & real).any() for seed in range(40))


def test_nothing_is_planted_that_would_end_within_a_real_tumour(monkeypatch):
    lesion = Lesion(16, 1, 0, 30, 5, bend=0, push=0, capsule_hu=0)
    monkeypatch.setattr(planting, "draw_lesion", lambda random: lesion)
    monkeypatch.setattr(planting, "draw_body", lambda random: Body(height=0, tall=1))
    slab = make_slab(0, 4, ill={4: (64, 60)})
    within = ndimage.binary_erosion(slab.target[1] == Target.TUMOUR, iterations=2)
    tumours = [new(slab, planted(slab, seed))[0] for seed in range(20)]
    assert any(each.any() for each in tumours)
    assert not any((each & within).any() for each in tumours)


def test_close_slices_show_nearly_the_same_tumour_and_far_ones_none():
    close, far = make_slab(0, 0.5), make_slab(0, 200)
    dice = []
    for seed in SEEDS:
        one, other = new(close, planted(close, seed))
        if one.sum() > 100:
            dice.append(2 * (one & other).sum() / (one.sum() + other.sum()))
        after = planted(far, seed)
        np.testing.assert_array_equal(after.hu[1], far.hu[1])
        np.testing.assert_array_equal(after.target[1], far.target[1])
    assert len(dice) > 3
    assert np.median(dice) > 0.9


def test_most_tumours_reach_the_next_slice_and_shrink_on_the_way_out_of_it():
    slab = make_slab(-5, 0, 5)
    areas = [new(slab, planted(slab, seed)).sum(axis=(1, 2)) for seed in range(30)]
    reached = [int(below > 0) + int(above > 0) for below, own, above in areas if own > 100]
    assert np.mean(reached) > 1
    grown = [max(below, above) / own for below, own, above in areas if own > 100]
    assert np.median(grown) < 1.5


def test_a_tumours_sections_are_those_of_an_ellipsoid():
    body = Body(height=-0.6, tall=1.25)
    assert body.section_mm(8, 0) == pytest.approx(8)  # of a largest radius of 10
    assert body.section_mm(8, 0.6 * 12.5) == pytest.approx(10)
    assert body.section_mm(8, 1.2 * 12.5) == pytest.approx(8)
    assert body.section_mm(8, -0.41 * 12.5) == body.section_mm(8, 1.61 * 12.5) == 0


def test_tumours_are_cut_on_either_side_of_their_middle():
    random = np.random.default_rng(0)
    heights = [draw_body(random).height for _ in range(500)]
    assert abs(np.mean(heights)) < 0.1
    assert max(np.abs(heights)) < 0.8


def test_where_nobody_looked_at_a_neighbour_nothing_is_planted():
    slab = make_slab(0, 0.2)
    slab.target[1] = Target.UNKNOWN
    for seed in SEEDS:
        assert not new(slab, planted(slab, seed)).any()


def batch(away_mm: list[float], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Planted slices and targets of one slice that brings neighbours, and its HU before."""
    slab = make_slab(*sorted(set(away_mm)))
    where = np.searchsorted(slab.away_mm, away_mm)
    hu, target = (torch.from_numpy(each[where])[None] for each in (slab.hu, slab.target))
    beside = Beside(target, torch.tensor([away_mm]))
    random = torch.Generator().manual_seed(seed)
    shown, labels = plant_some(hu, target[:, 0], torch.tensor([MM]), 1.0, random, beside)
    return shown, labels, hu


def test_a_slice_that_stands_in_for_its_neighbours_stays_the_same_in_all_places():
    shown, labels, before = batch([0.0, 0.0, 0.0])
    assert (labels == Target.TUMOUR).any()
    assert not torch.equal(shown, before)
    assert torch.equal(shown[0, 0], shown[0, 1])
    assert torch.equal(shown[0, 0], shown[0, 2])


def test_neighbours_come_back_in_the_order_in_which_they_came():
    shown, labels, before = batch([0.0, -2.0, 3.0])
    own = labels[0] == Target.TUMOUR
    changed = (shown != before)[0]
    assert changed[0][own].float().mean() > 0.99
    assert not torch.equal(shown[0, 1], shown[0, 2])
    for index in range(3):  # what is not liver tells which slice it is
        outside = before[0, index] < 0
        assert torch.equal(shown[0, index][outside], before[0, index][outside])


def test_neighbours_of_which_nothing_is_known_are_refused():
    hu, target = torch.zeros(1, 3, 8, 8), torch.zeros((1, 8, 8), dtype=torch.uint8)
    with pytest.raises(BadData, match="without the neighbours' targets"):
        plant_some(hu, target, torch.tensor([MM]), 1.0, torch.Generator())


def test_a_slab_has_one_slice_of_its_own():
    hu = np.zeros((2, 4, 4), np.float32)
    with pytest.raises(BadData, match="one at 0 mm expected"):
        Slab(hu, hu.astype(np.uint8), np.array([-1, 1], np.float32), MM)
    slab, which = stacked(hu, hu.astype(np.uint8), np.zeros(2, np.float32), MM)
    assert len(slab.hu) == 1
    assert which.tolist() == [0, 0]


def test_a_recipe_may_plant_tumours_into_slices_and_their_neighbours(tiny_recipe):
    table = tiny_recipe.model_dump()
    table["working"]["neighbours"] = 1
    table["augmentation"] |= {"synthetic_tumour": 1.0}
    table["batch"] = {"tumour": 0, "other": 4}
    made = make_phantom(1, shape=(12, 64, 64), spacing_mm=(12.0, 6.0, 6.0), tumours=0)
    names, mm = np.array(["anna"] * 12), np.full(12, 6, np.float32)
    place = np.arange(12, dtype=np.float32) * 12
    slices = Slices(made.volume.hu, made.truth.labels, names, mm, names, place)
    hu, target = Batches(Recipe.model_validate(table), 1, slices)[0]
    assert hu.shape == (4, 3, 64, 64)
    assert not (slices.target == Target.TUMOUR).any()
    assert (target == Target.TUMOUR).any()
