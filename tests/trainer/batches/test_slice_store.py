"""Slices in a device's memory: exact, small, and in the host's where there is no room."""

from functools import partial

import numpy as np
import pytest
import torch

from trainer.batches import slice_store
from trainer.batches.data_loader import Batches, Looks
from trainer.batches.slice_store import HOST, store_slices
from trainer.datasets.cases.slices import Slices
from trainer.ensemble.windows import clip
from trainer.recipe.recipe import Working


@pytest.fixture(scope="module")
def slices() -> Slices:
    hu = np.random.default_rng(0).integers(-1024, 3000, (5, 32, 32)).astype(np.int16)
    target = (np.arange(5 * 32 * 32) % 3).astype(np.uint8).reshape(hu.shape)
    names = np.array(list("aabbc"))
    return Slices(hu, target, names, np.array([1, 1, 2, 2, np.nan], np.float32))


def working(low: float, high: float, drop: float | None = None) -> Working:
    windows = ((low, high),)
    return Working(spacing_mm=1, size=32, clip_hu=(low, high), windows=windows, drop_above_hu=drop)


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (working(0, 160), torch.uint8),
        (working(-100, 155), torch.uint8),
        (working(0, 200, drop=120), torch.uint8),
        (working(-100, 156), torch.int16),
        (working(0.5, 160), torch.int16),
        (working(-200, 1200, drop=900), torch.int16),
    ],
    ids=str,
)
def test_slices_are_what_the_recipe_clips_them_to_in_a_byte_where_that_is_enough(
    slices, asked, kind
):
    store = store_slices(slices, asked)
    assert store.hu.dtype == kind
    chosen = np.array([4, 0, 4])
    shown = store.shown(chosen, chosen)
    assert torch.equal(shown.hu, clip(torch.from_numpy(slices.hu[chosen]).float(), asked))
    assert torch.equal(shown.target, torch.from_numpy(slices.target[chosen]))
    np.testing.assert_array_equal(shown.pixel_mm.numpy(), slices.pixel_mm[chosen])


def test_slices_are_converted_part_by_part(slices, monkeypatch):
    whole = store_slices(slices, working(0, 160)).hu
    monkeypatch.setattr(slice_store, "PART", 2)
    assert torch.equal(store_slices(slices, working(0, 160)).hu, whole)


def test_neighbours_come_with_their_slice(slices):
    around = np.array([[1, 0, 2], [4, 4, 4]])
    shown = store_slices(slices, working(0, 160)).shown(around[:, 0], around)
    assert shown.hu.shape == (2, 3, 32, 32)
    assert torch.equal(shown.hu[0, 2], torch.from_numpy(slices.hu[2]).float().clamp(0, 160))


META = torch.device("meta")
"""Stands for a GPU: it has no values, and refuses to be mixed with tensors of the host."""
BYTES = 2 * 5 * 32 * 32


@pytest.mark.parametrize(("free", "where"), [(2 * BYTES, META), (2 * BYTES - 1, HOST)])
def test_slices_lie_on_the_device_if_half_of_its_free_memory_holds_them(
    slices, monkeypatch, caplog, free, where
):
    monkeypatch.setattr(slice_store, "free_memory", lambda place: free)
    store = store_slices(slices, working(0, 160), META)
    assert store.hu.device == store.target.device == where
    chosen = np.array([1, 3])
    shown = store.shown(chosen, chosen)
    assert {each.device for each in (shown.hu, shown.target, shown.pixel_mm)} == {META}
    said = [record.getMessage() for record in caplog.records]
    assert bool(said) == (where == HOST)
    assert all("slices stay in the host's memory: they take 0 MB" in each for each in said)


def test_a_device_whose_memory_nobody_counts_gets_batches_only(slices):
    assert slice_store.free_memory(META) is None
    assert store_slices(slices, working(0, 160), META).hu.device == HOST


@pytest.mark.parametrize("made", [partial(Batches, seed=0), Looks])
def test_batches_are_made_of_slices_that_lie_on_the_device_that_learns(
    slices, tiny_recipe, monkeypatch, made
):
    monkeypatch.setattr(slice_store, "free_memory", lambda place: 1 << 40)
    store = made(tiny_recipe, slices=slices, place=META)._store
    held = store.hu, store.target, store.pixel_mm
    assert {each.device for each in held} == {store.place} == {META}
