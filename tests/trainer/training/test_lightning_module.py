"""What counts on patients that a member does not learn from."""

import pytest
import torch
from torch.nn.functional import one_hot

from engine.volume import Label
from trainer.datasets.cases.target import Target
from trainer.training.lightning_module import Learner


def figures(recipe, found: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """What is logged of one slice in which the member finds labels."""
    learner = Learner(recipe, recipe.members[1], 1)
    logged: dict[str, torch.Tensor] = {}
    learner.log = lambda name, value, **_: logged.update({name: value})
    learner.log_dict = lambda values, **_: logged.update(values)
    learner.network.forward = lambda seen: 9.0 * one_hot(found, 3).movedim(-1, 1)
    learner.on_validation_epoch_start()
    learner.validation_step((torch.zeros(found.shape), target, torch.tensor([0])), 0)
    learner.on_validation_epoch_end()
    return logged


def halves(left: int, right: int) -> torch.Tensor:
    """One slice with a value on either side."""
    sides = torch.full((1, 32, 16), left), torch.full((1, 32, 16), right)
    return torch.cat(sides, dim=2)


@pytest.mark.parametrize("found", [Label.BACKGROUND, Label.LIVER])
def test_where_no_liver_was_drawn_none_can_be_missed_or_found(tiny_recipe, found):
    target = halves(Target.LIVER, Target.NO_TUMOUR).to(torch.uint8)
    logged = figures(tiny_recipe, halves(Label.LIVER, found), target)
    assert logged["liver_dice"] == logged["liver_iou"] == logged["mean_iou"] == 1


def test_a_tumour_found_where_there_is_none_counts_without_a_liver_drawn(tiny_recipe):
    target = halves(Target.TUMOUR, Target.NO_TUMOUR).to(torch.uint8)
    logged = figures(tiny_recipe, halves(Label.TUMOUR, Label.TUMOUR), target)
    assert logged["tumour_dice"] == pytest.approx(2 / 3)


def test_a_tumour_found_where_none_was_drawn_counts_neither_way(tiny_recipe):
    target = halves(Target.TUMOUR, Target.LIVER_OR_TUMOUR).to(torch.uint8)
    logged = figures(tiny_recipe, halves(Label.TUMOUR, Label.TUMOUR), target)
    assert logged["tumour_dice"] == 1
