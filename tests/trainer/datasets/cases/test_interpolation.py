import pytest
import torch

from trainer.datasets.cases.interpolation import axis_mm, interpolation


def test_the_same_grid_changes_nothing():
    targets = axis_mm(12, torch.tensor(1.0))
    torch.testing.assert_close(interpolation(targets, 12, torch.tensor(1.0)), torch.eye(12))


@pytest.mark.parametrize("ratio", [0.4, 1.0, 2.3])
def test_a_ramp_stays_a_ramp(ratio):
    targets = axis_mm(9, torch.tensor(ratio))
    ramp = axis_mm(41, torch.tensor(1.0))
    sampled = interpolation(targets, 41, torch.tensor(ratio)) @ ramp
    torch.testing.assert_close(sampled, targets, atol=0.1, rtol=0)


def test_a_coarser_grid_averages_what_it_cannot_show():
    stripes = torch.tensor([0.0, 100.0]).repeat(50)
    targets = axis_mm(20, torch.tensor(4.0))
    sampled = interpolation(targets, 100, torch.tensor(4.0)) @ stripes
    torch.testing.assert_close(sampled, torch.full((20,), 50.0), atol=1.0, rtol=0)


def test_outside_of_the_source_there_is_nothing():
    targets = axis_mm(10, torch.tensor(5.0))
    weights = interpolation(targets, 8, torch.tensor(1.0))
    assert weights.sum(dim=1)[0] == 0
    assert weights.sum(dim=1)[5] == pytest.approx(1)
