from copy import deepcopy

import pytest
import torch

from trainer.ensemble.batchnorm_folding import fold, unfold
from trainer.ensemble.members import Cascade, to_marks
from trainer.networks import IN_DEPTH, NETWORKS

SLICES = 3
EVERY = [*NETWORKS, *IN_DEPTH]


def make(name, inputs, classes):
    if name in IN_DEPTH:
        return IN_DEPTH[name](inputs, SLICES, classes)
    return NETWORKS[name](inputs, classes)


@pytest.mark.parametrize("name", EVERY)
def test_every_network_scores_every_pixel_and_learns_in_every_weight(name):
    torch.manual_seed(0)
    network = make(name, 6, 3)
    scores = network(torch.randn(2, 6, 64, 96))
    assert scores.shape == (2, 3, 64, 96)
    scores.square().mean().backward()
    untouched = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert untouched == []


@pytest.mark.parametrize("name", ["unet", "linknet", "fpn"])
def test_the_default_models_networks_are_small(name):
    assert sum(p.numel() for p in NETWORKS[name](2, 3).parameters()) < 2_000_000


@pytest.mark.parametrize("name", EVERY)
def test_a_slice_is_scored_alike_alone_and_in_a_batch(name):
    network = make(name, 6, 3).eval()
    batch = torch.randn(3, 6, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(batch)[1:2], network(batch[1:2]), atol=1e-4, rtol=1e-4)


def test_a_cascade_shows_its_second_network_nothing_but_the_liver():
    torch.manual_seed(0)
    cascade = Cascade(NETWORKS["resunet"], 1).eval()
    seen = torch.rand(1, 1, 64, 64)
    found = cascade.liver(seen) > 0
    elsewhere = torch.where(found, seen, 7.0)
    with torch.inference_mode():
        torch.testing.assert_close(
            cascade(elsewhere, found.float())[:, 1], cascade(seen, found.float())[:, 1]
        )
        torch.testing.assert_close(cascade(seen), cascade(seen, found.float()))


@pytest.mark.parametrize("classes", [2, 3])
def test_marks_are_probabilities_of_liver_and_tumour(classes):
    marks = to_marks(torch.randn(2, classes, 8, 8))
    assert marks.shape == (2, 2, 8, 8)
    assert 0 <= marks.min() <= marks.max() <= 1


@pytest.mark.parametrize("name", EVERY)
def test_a_folded_network_scores_as_before_and_can_be_unfolded(name):
    torch.manual_seed(0)
    network = make(name, 3, 2).eval()
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(part.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(part.running_var, 0.5, 2.0)
    x = torch.rand(1, 3, 64, 64)
    folded = fold(deepcopy(network))
    again = make(name, 3, 2).eval()
    again.load_state_dict(unfold(again, folded.state_dict()), strict=False)
    assert len(folded.state_dict()) < len(network.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(folded(x), network(x), atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(again(x), network(x), atol=1e-4, rtol=1e-3)


def test_no_norm_of_a_network_in_three_dimensions_outlives_its_folding():
    folded = fold(make("dynunet", 3, 2).eval())
    assert not any(isinstance(part, torch.nn.BatchNorm3d) for part in folded.modules())
