"""Contrast changed class by class: levels move as asked, labels and clipped voxels stay."""

import pytest
import torch

from trainer.batches.augmentation import augment
from trainer.batches.contrast_phase import change_phase
from trainer.datasets.cases.target import Target
from trainer.recipe.recipe import Augmentation, Recipe, load_recipe
from trainer.recipe.sections import Phase

SLICES, SIDE = 24, 48
BOUNDS = (0.0, 160.0)
LIVER_HU, TUMOUR_HU, OTHER_HU = 100.0, 70.0, 60.0

STILL = Phase(
    surroundings=0, vessels=0, tumours=0, levels=0, drift_hu=0, gain=0, smoothing=(0, 0), noise_hu=0
)
"""Nothing changes."""


def only(**changes: object) -> Phase:
    return Phase.model_validate(STILL.model_dump() | changes)


@pytest.fixture(scope="module")
def slices() -> tuple[torch.Tensor, torch.Tensor]:
    """A liver with a tumour of 12 x 12 pixels and a vessel, surroundings, air above."""
    target = torch.zeros((SLICES, SIDE, SIDE), dtype=torch.uint8)
    target[:, 12:42, 8:40] = Target.LIVER
    target[:, 20:32, 20:32] = Target.TUMOUR
    hu = torch.full((SLICES, 1, SIDE, SIDE), OTHER_HU)
    hu[:, 0][target == Target.LIVER] = LIVER_HU
    hu[:, 0][target == Target.TUMOUR] = TUMOUR_HU
    hu[:, :, 36:39, 12:36] = LIVER_HU + 30
    hu[:, :, :6] = BOUNDS[0]
    return hu, target


def change(slices: tuple[torch.Tensor, torch.Tensor], phase: Phase, seed: int = 0) -> torch.Tensor:
    """Slices after the change; (n, rows, columns)."""
    random = torch.Generator().manual_seed(seed)
    return change_phase(*slices, phase, BOUNDS, random)[:, 0]


def in_tumour(hu: torch.Tensor) -> torch.Tensor:
    """Mean of the tumour's middle, slice by slice."""
    return hu[:, 22:30, 22:30].mean(dim=(1, 2))


def in_liver(hu: torch.Tensor) -> torch.Tensor:
    """Mean of the liver far from everything else, slice by slice."""
    return hu[:, 15:17, 12:36].mean(dim=(1, 2))


def test_a_phase_of_nothing_changes_nothing(slices):
    torch.testing.assert_close(change(slices, STILL), slices[0][:, 0])


def test_the_same_chance_gives_the_same_slices(slices):
    assert torch.equal(change(slices, Phase()), change(slices, Phase()))
    assert not torch.equal(change(slices, Phase()), change(slices, Phase(), seed=1))


def test_slices_are_changed_one_by_one(slices):
    after = change(slices, only(levels=1))
    assert len({round(float(level), 3) for level in in_liver(after)}) == SLICES


def test_clipped_voxels_stay_and_no_bound_is_passed(slices):
    after = change(slices, Phase(noise_hu=60))
    assert not after[:, :6].any()
    assert BOUNDS[0] <= float(after.min()) <= float(after.max()) <= BOUNDS[1]


def test_a_planted_arterial_tumour_is_brighter_than_the_liver(slices):
    after = change(slices, only(tumours=1, tumours_brighter=1, rims=0, cores=0))
    above = in_tumour(after) - in_liver(after)
    assert 11 < float(above.min()) < float(above.max()) < 56
    torch.testing.assert_close(in_liver(after), in_liver(slices[0][:, 0]))


def test_a_planted_dark_tumour_is_darker_than_the_liver(slices):
    after = change(slices, only(tumours=1, tumours_brighter=0, rims=0, cores=0))
    below = in_liver(after) - in_tumour(after)
    assert 11 < float(below.min()) < float(below.max()) < 56


def test_as_many_tumours_are_brighter_as_the_recipe_asks(slices):
    phase = only(tumours=0.5, tumours_brighter=0.6, rims=0, cores=0)
    after = torch.cat([change(slices, phase, seed) for seed in range(10)])
    contrast = in_tumour(after) - in_liver(after)
    assert float((contrast > 0).float().mean()) == pytest.approx(0.3, abs=0.1)
    untouched = (contrast - (TUMOUR_HU - LIVER_HU)).abs() < 0.01
    assert float(untouched.float().mean()) == pytest.approx(0.5, abs=0.1)


def test_rims_are_brighter_and_cores_darker_than_the_rest(slices):
    plain = {"tumours": 1, "tumours_brighter": 1, "brighter_hu": (20, 20)}
    rim = change(slices, only(**plain, rims=1, rim_hu=(15, 15), cores=0))
    core = change(slices, only(**plain, rims=0, cores=1, core_hu=(25, 25)))
    assert float(rim[:, 21, 24:28].mean() - rim[:, 25:27, 25:27].mean()) == pytest.approx(15, abs=4)
    assert float(core[:, 26, 26].mean() - core[:, 22, 22].mean()) == pytest.approx(-25, abs=1)


def test_livers_come_to_the_levels_asked_for(slices):
    after = in_liver(change(slices, only(levels=1)))
    assert 67 < float(after.min()) < 85 < 130 < float(after.max()) < 146


def test_surroundings_are_shifted_and_the_liver_is_not(slices):
    after = change(slices, only(surroundings=1, surroundings_hu=(40, 40)))
    moved = after[:, 8:10].mean(dim=(1, 2)) - OTHER_HU
    assert float(moved.min()) > 5
    assert 15 < float(moved.mean()) < 25  # even knots between none and all of 40 HU
    torch.testing.assert_close(in_liver(after), in_liver(slices[0][:, 0]))


@pytest.mark.parametrize(("gain", "sign"), [((1, 1), 1), ((-1.6, -1.6), -1)])
def test_vessels_become_brighter_or_darker_than_they_were(slices, gain, sign):
    before = slices[0][:, 0]
    after = change(slices, only(vessels=1, vessel_gain=gain))
    assert (sign * (after - before)[:, 37, 16:30] > 15).all()
    torch.testing.assert_close(in_liver(after), in_liver(before))


def test_noise_is_as_strong_as_asked_at_most(slices):
    after = change(slices, only(noise_hu=18, coarse_noise=0))
    spread = (after - slices[0][:, 0])[:, 14:18, 10:38].flatten(1).std(dim=1)
    assert float(spread.max()) < 18 * 1.3
    assert float(spread.mean()) == pytest.approx(18 / 3, rel=0.5)  # the mean of a square is 1/3


def test_slices_without_liver_and_unknown_pixels_are_no_obstacle():
    hu, target = torch.full((2, 1, 32, 32), 50.0), torch.zeros((2, 32, 32), dtype=torch.uint8)
    target[1] = Target.UNKNOWN
    after = change((hu, target), Phase())
    assert after.isfinite().all()
    assert not torch.equal(after, hu[:, 0])


def of_recipe(recipe: Recipe, phase: Phase | None) -> Augmentation:
    still = {"gain": 0, "shift_hu": 0, "noise_hu": 0, "soften": False, "phase": phase}
    return Augmentation.model_validate(recipe.augmentation.model_dump() | still)


def run(augmentation: Augmentation, slices) -> tuple[torch.Tensor, torch.Tensor]:
    return augment(
        slices[0][:, 0],
        slices[1],
        torch.full((SLICES,), 1.75),
        augmentation,
        size=SIDE,
        grid_size=SIDE,
        spacing_mm=1.75,
        ceiling_hu=BOUNDS[1],
        random=torch.Generator().manual_seed(3),
    )


def test_labels_are_the_same_with_and_without_a_phase(slices):
    recipe = load_recipe("base")
    plain, changed = (run(of_recipe(recipe, phase), slices) for phase in (None, Phase()))
    assert torch.equal(plain[1], changed[1])
    assert not torch.equal(plain[0], changed[0])


def test_published_recipes_have_no_phase():
    assert load_recipe("base").augmentation.phase is None


@pytest.mark.parametrize("key", ["gain", "shift_hu", "noise_hu", "soften", "tumour_only"])
def test_what_a_phase_replaces_is_refused_beside_it(key):
    augmentation = of_recipe(load_recipe("base"), Phase()).model_dump() | {key: 1}
    with pytest.raises(ValueError, match="phase"):
        Augmentation.model_validate(augmentation)


def test_neighbours_whose_labels_are_unknown_are_refused():
    recipe = load_recipe("base").model_dump()
    recipe["augmentation"] = of_recipe(load_recipe("base"), Phase()).model_dump()
    recipe["working"]["neighbours"] = 1
    with pytest.raises(ValueError, match=r"augmentation\.phase changes slices by their labels"):
        Recipe.model_validate(recipe)
