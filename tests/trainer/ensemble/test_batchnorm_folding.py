from copy import deepcopy

import pytest
import torch

from trainer.ensemble.batchnorm_folding import part_of_the_way
from trainer.networks import NETWORKS


def learnt(name: str, seed: int) -> torch.nn.Module:
    """A network whose norms have statistics."""
    torch.manual_seed(seed)
    network = NETWORKS[name](2, 3)
    with torch.inference_mode():
        for _ in range(2):
            network(torch.randn(2, 2, 64, 64))
    return network.eval()


@pytest.mark.parametrize("name", ["fpn", "unet"])
@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_weights_between_two_networks(name, part):
    start, end = learnt(name, 1), learnt(name, 2)
    before = [deepcopy(each.state_dict()) for each in (start, end)]
    between = deepcopy(end)
    between.load_state_dict(part_of_the_way(start, end, part), strict=False)
    seen = torch.randn(1, 2, 64, 64)
    with torch.inference_mode():
        found, first, last = (network(seen) for network in (between.eval(), start, end))
    if part in (0.0, 1.0):
        torch.testing.assert_close(found, last if part else first, atol=1e-3, rtol=1e-3)
    else:
        assert min((found - each).abs().mean() for each in (first, last)) > 1e-3
    for network, state in zip((start, end), before, strict=True):
        assert all(torch.equal(network.state_dict()[key], state[key]) for key in state)
