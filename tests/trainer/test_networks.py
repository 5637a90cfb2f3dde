import pytest
import torch

from trainer.networks import NETWORKS


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_scores_every_pixel_and_learns_in_every_weight(name):
    network = NETWORKS[name](2, 3)
    scores = network(torch.randn(2, 2, 64, 96))
    assert scores.shape == (2, 3, 64, 96)
    scores.square().mean().backward()
    untouched = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert untouched == []


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_small_enough_for_the_default_model(name):
    assert sum(p.numel() for p in NETWORKS[name](2, 3).parameters()) < 2_000_000


@pytest.mark.parametrize("name", NETWORKS)
def test_a_slice_is_scored_alike_alone_and_in_a_batch(name):
    network = NETWORKS[name](2, 3).eval()
    batch = torch.randn(3, 2, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(batch)[1:2], network(batch[1:2]), atol=1e-4, rtol=1e-4)
