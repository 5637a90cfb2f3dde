"""Batch norms folded into the convolutions before them, and back.

A norm that has learnt only scales and adds, so its convolution can do it alone: half the nodes to
export, and nothing left to fold for whatever runs the graph.
"""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, *TRANSPOSED)
Norm = nn.BatchNorm2d | nn.BatchNorm3d
MONAI = (("conv1.conv", "norm1"), ("conv2.conv", "norm2"))
"""Pairs of layers in MONAI's `UnetBasicBlock`, which is recognised by these parts: its import
takes 2 s."""


def fold(network: nn.Module) -> nn.Module:
    """Fold every norm that directly follows its convolution; return the network."""
    # A list: replacing parts while walking over them would skip some.
    for pair in list(_pairs(network)):
        transposed = isinstance(pair.convolution, TRANSPOSED)
        folded = fuse_conv_bn_eval(pair.convolution, pair.norm, transpose=transposed)
        pair.parent.set_submodule(pair.before, folded)
        pair.parent.set_submodule(pair.after, nn.Identity())
    return network


def unfold(network: nn.Module, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the norms back, as mere biases, to weights that were kept without them.

    The norm has nothing to scale, and adds what the folded convolution adds.
    """
    weights = dict(kept)
    for pair in _pairs(network):
        convolution, norm = f"{pair.path}.{pair.before}", f"{pair.path}.{pair.after}"
        bias = kept.get(f"{convolution}.bias")
        if f"{norm}.running_var" not in kept and bias is not None:
            weights |= _adding(bias, pair.norm.eps, norm)
    return weights


def part_of_the_way(start: nn.Module, end: nn.Module, part: float) -> dict[str, Tensor]:
    """Return weights between those of two like networks, with norms as mere biases.

    Norms are folded first: what lies between two of them would be no norm of what lies between
    their convolutions.

    Args:
        start: in evaluation mode, as the other.
        end: the other one.
        part: 0 for the weights of `start`, 1 for those of `end`.
    """
    first, last = (fold(deepcopy(each)).state_dict() for each in (start, end))
    between = {
        name: torch.lerp(first[name], each, part) if each.is_floating_point() else each
        for name, each in last.items()
    }
    wanted = end.state_dict()
    return {name: each for name, each in unfold(end, between).items() if name in wanted}


@dataclass(frozen=True)
class _Pair:
    """A convolution and the norm after it, by their names in the part that has both."""

    parent: nn.Module
    path: str
    before: str
    after: str
    convolution: nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d
    norm: Norm


def _pairs(network: nn.Module) -> Iterator[_Pair]:
    for path, part in network.named_modules():
        for before, after in _following(part):
            one, other = part.get_submodule(before), part.get_submodule(after)
            if isinstance(one, CONVOLUTIONS) and isinstance(other, Norm):
                yield _Pair(part, path, before, after, one, other)


def _following(part: nn.Module) -> Iterable[tuple[str, str]]:
    """Return the names of what in a part feeds what."""
    if {name for pair in MONAI for name in pair} <= {name for name, _ in part.named_modules()}:
        return MONAI
    if isinstance(part, nn.Sequential):
        return pairwise(name for name, _ in part.named_children())
    return ()


def _adding(bias: Tensor, eps: float, norm: str) -> dict[str, Tensor]:
    """Return the state of a batch norm that adds `bias` and does nothing else."""
    return {
        f"{norm}.weight": torch.ones_like(bias),
        f"{norm}.bias": bias,
        f"{norm}.running_mean": torch.zeros_like(bias),
        # The norm divides by sqrt(var + eps), which is 1 then.
        f"{norm}.running_var": torch.ones_like(bias) - eps,
    }
