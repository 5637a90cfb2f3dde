"""How the members' probabilities become one decision.

Every fusion takes one class's foreground probabilities (members, …) and tells, pixel by pixel,
whether the class is there.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Fusion = Callable[[Tensor, float], Tensor]
"""Probabilities (members, …) and the class's exponent to a boolean tensor (…)."""

LIVER_EXPONENT, TUMOUR_EXPONENT = 1.0, 0.0001
"""The Blumberg fusion's exponents, as BLUE-Net's authors chose them."""


def blumberg(probability: Tensor, exponent: float) -> Tensor:
    """Fuse as BLUE-Net does: by fuzzy ranks of the confidences, with a penalty for dissent.

    A member's rank for a class counts only where the class is its own choice; elsewhere 1 counts.
    The class with the smaller product of summed ranks and lacking confidence wins, the background
    on a tie. The authors' notebook loops over pixels; this is the same in element-wise form.
    """
    chosen = probability > 0.5
    foreground = _score(probability, chosen, exponent)
    background = _score(1 - probability, ~chosen, exponent)
    return foreground < background


def _score(confidence: Tensor, chosen: Tensor, exponent: float) -> Tensor:
    """Return RS x CFS of one class; small where many members chose it with confidence."""
    powered = confidence if exponent == 1 else confidence.clamp(min=1e-7) ** exponent
    rank = 1 - powered / (0.5 + powered)
    rank_sum = torch.where(chosen, rank, 1.0).sum(dim=0)
    lacking = 1 - torch.where(chosen, confidence, 0.0).sum(dim=0) / confidence.shape[0]
    return rank_sum * lacking


def mean(probability: Tensor, exponent: float) -> Tensor:
    """Fuse by the plain average; the exponent has no say."""
    return probability.mean(dim=0) > 0.5


def majority(probability: Tensor, exponent: float) -> Tensor:
    """Fuse by vote; the exponent has no say."""
    return (probability > 0.5).float().mean(dim=0) > 0.5


FUSIONS: dict[str, Fusion] = {"blumberg": blumberg, "mean": mean, "majority": majority}
"""Name to fusion."""
