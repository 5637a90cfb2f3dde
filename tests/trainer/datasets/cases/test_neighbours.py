import numpy as np
import pytest
import torch

from trainer.batches.data_loader import Batches, Looks, prepare
from trainer.batches.slice_store import store_slices
from trainer.datasets.cases.neighbours import Neighbours
from trainer.datasets.cases.slices import Slices
from trainer.ensemble.windows import Windows
from trainer.recipe.recipe import Recipe


def make_slices(*series: tuple[str, list[float]]) -> Slices:
    """Slices whose HU are their index, in the series and at the places that are given."""
    names = np.array([name for name, places in series for _ in places])
    places = np.array([place for _, places in series for place in places], np.float32)
    count = len(names)
    hu = np.broadcast_to(np.arange(count, dtype=np.int16)[:, None, None], (count, 64, 64))
    target = np.ones((count, 64, 64), np.uint8)
    return Slices(hu, target, names, np.full(count, 7, np.float32), names, places)


def seen(slices: Slices, chosen: list[int], count: int) -> list[list[int]]:
    return Neighbours(slices).hu(np.array(chosen), count)[:, :, 0, 0].tolist()


def test_neighbours_are_told_by_their_place_and_not_by_their_order():
    slices = make_slices(("anna", [4, 0, 2, 6]))
    assert seen(slices, [2, 0], 1) == [[2, 1, 0], [0, 2, 3]]


def test_a_series_ends_with_itself_and_not_with_another():
    slices = make_slices(("anna", [0, 2, 4]), ("bert", [0, 2]))
    assert seen(slices, [0, 2, 3], 2) == [[0, 0, 1, 0, 2], [2, 1, 2, 0, 2], [3, 3, 4, 3, 4]]


def test_a_slice_whose_place_is_unknown_is_its_own_neighbour():
    slices = make_slices(("anna", [np.nan, np.nan]), ("bert", [0, 2]))
    assert seen(slices, [0, 1], 1) == [[0, 0, 0], [1, 1, 1]]


@pytest.fixture
def recipe(tiny_recipe) -> Recipe:
    working = tiny_recipe.working.model_copy(update={"neighbours": 1})
    return tiny_recipe.model_copy(update={"working": working})


def test_what_is_learnt_from_is_what_is_seen_in_use(recipe):
    slices = make_slices(("anna", [0, 2, 4, 6, 8]))
    slices = Slices(slices.hu * 20, *(getattr(slices, name) for name in REST))
    windows = Windows(recipe.working)
    in_use = windows(torch.from_numpy(slices.hu.copy()).float())
    hu, _, _ = Looks(recipe, slices)[0]
    assert hu.shape == (5, 3, 64, 64)
    torch.testing.assert_close(windows(hu)[:, :, 32, 32], in_use[:, :, 32, 32])


REST = ("target", "patient", "pixel_mm", "series", "position_mm")


def test_neighbours_are_turned_and_bent_as_their_slice(recipe):
    slices = make_slices(("anna", [0.0]))
    picture = np.random.default_rng(0).integers(20, 140, (1, 64, 64)).astype(np.int16)
    slices = Slices(picture, *(getattr(slices, name) for name in REST))
    still = recipe.augmentation.model_copy(update={"noise_hu": 0})
    own = np.array([0])
    shown = store_slices(slices, recipe.working).shown(own, Neighbours(slices).around(own, 1))
    changed, _ = prepare(shown, recipe, still, 64, torch.Generator().manual_seed(1))
    assert not torch.equal(changed[:, 0], torch.from_numpy(picture).float())
    assert torch.equal(changed[:, 0], changed[:, 1])
    assert torch.equal(changed[:, 0], changed[:, 2])


def test_a_batch_brings_the_neighbours_that_the_recipe_asks_for(recipe):
    slices = make_slices(("anna", [0, 2, 4, 6, 8]))
    hu, target = Batches(recipe, 1, slices)[0]
    assert hu.shape == (recipe.batch.size, 3, 64, 64)
    assert target.shape == (recipe.batch.size, 64, 64)


def test_neighbours_lie_as_far_away_as_their_places_do_and_a_stand_in_not_at_all():
    slices = make_slices(("anna", [0, 2, 5]), ("bert", [np.nan]))
    neighbours = Neighbours(slices)
    around = neighbours.around(np.array([1, 0, 3]), 2)
    away = neighbours.away_mm(around).tolist()
    assert away == [[0, -2, 3, -2, 3], [0, 0, 2, 0, 5], [0, 0, 0, 0, 0]]
