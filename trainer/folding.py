"""Batch norms folded into the convolutions before them, and back.

A norm that has learnt only scales and adds, so its convolution can do it alone: half the nodes to
export, and nothing left to fold for whatever runs the graph.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def fold(network: nn.Module) -> nn.Module:
    """Fold every norm that follows its convolution in a `Sequential`; return the network."""
    for pair in list(_pairs(network)):
        transposed = isinstance(pair.convolution, nn.ConvTranspose2d)
        folded = fuse_conv_bn_eval(pair.convolution, pair.norm, transpose=transposed)
        setattr(pair.parent, pair.before, folded)
        setattr(pair.parent, pair.after, nn.Identity())
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


@dataclass(frozen=True)
class _Pair:
    """A convolution and the norm after it, by their names in the `Sequential` that has both."""

    parent: nn.Module
    path: str
    before: str
    after: str
    convolution: nn.Conv2d | nn.ConvTranspose2d
    norm: nn.BatchNorm2d


def _pairs(network: nn.Module) -> Iterator[_Pair]:
    for path, part in network.named_modules():
        if isinstance(part, nn.Sequential):
            for (before, one), (after, other) in pairwise(part.named_children()):
                if isinstance(one, CONVOLUTIONS) and isinstance(other, nn.BatchNorm2d):
                    yield _Pair(part, path, before, after, one, other)


def _adding(bias: Tensor, eps: float, norm: str) -> dict[str, Tensor]:
    """Return the state of a batch norm that adds `bias` and does nothing else."""
    return {
        f"{norm}.weight": torch.ones_like(bias),
        f"{norm}.bias": bias,
        f"{norm}.running_mean": torch.zeros_like(bias),
        f"{norm}.running_var": torch.ones_like(bias) - eps,
    }
