"""Batches are made without a look at the values, and without a copy from the host.

torch's device `meta` stands for a GPU: tensors on it have no values, so whatever would wait for the
device fails, and so does whatever mixes them with tensors of the host.
"""

import pytest
import torch

from trainer.batches.augmentation import augment
from trainer.recipe.recipe import Augmentation, Recipe, load_recipe
from trainer.synthetic.slab import Beside

TUMOURS = {"synthetic_tumour": 1.0}
PHASE = {"phase": {}, "gain": 0, "shift_hu": 0, "noise_hu": 0, "soften": False}
EVERYTHING = {
    "rotation_step_deg": 10,
    "reflections": True,
    "grid_mm": 5,
    "tumour_only": True,
}


def changed(recipe: Recipe, changes: dict[str, object]) -> Augmentation:
    return Augmentation.model_validate(recipe.augmentation.model_dump() | changes)


@pytest.mark.parametrize(
    "changes",
    [{}, EVERYTHING, PHASE, TUMOURS],
    ids=["base", "all", "phase", "synthetic tumours"],
)
@pytest.mark.parametrize("slices", [(), (3,)], ids=["alone", "with neighbours"])
def test_a_batch_never_leaves_its_device(changes, slices):
    if changes is PHASE and slices:
        pytest.skip("refused by the recipe")
    place = torch.device("meta")
    around = (4, *slices, 64, 64)
    beside = Beside(
        torch.empty(around, dtype=torch.uint8, device=place), torch.empty((4, 3), device=place)
    )
    hu, target = augment(
        torch.empty(around, device=place),
        torch.empty((4, 64, 64), dtype=torch.uint8, device=place),
        torch.empty(4, device=place),
        changed(load_recipe("base"), changes),
        size=96,
        grid_size=96,
        spacing_mm=2.0,
        ceiling_hu=160.0,
        random=torch.Generator(),
        beside=beside if slices else None,
    )
    assert hu.device == target.device == place
    assert hu.shape == (4, *slices, 96, 96)
    assert target.shape == (4, 96, 96)
