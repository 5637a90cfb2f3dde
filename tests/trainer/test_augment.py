import numpy as np
import pytest
import torch

from trainer.augment import augment
from trainer.datasets.reading import read_slices
from trainer.datasets.target import Target
from trainer.recipe import Recipe
from trainer.sampling import Sampler


def call(recipe: Recipe, hu: torch.Tensor, target: torch.Tensor, seed: int = 0):
    return augment(
        hu,
        target,
        torch.tensor([1.5, float("nan")]),
        recipe.augmentation,
        size=96,
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
