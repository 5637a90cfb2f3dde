"""Fusion of the members' probabilities into one decision.

Every fusion takes one class's foreground probabilities (members, …) and returns, pixel by pixel,
whether the class is there.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainer.recipe.sections import FusionKind, FusionSettings

Fusion = Callable[[Tensor, float], Tensor]
"""Probabilities (members, …) and the class's exponent to a boolean tensor (…)."""

TINY = 0.0003
"""Exponents below it need no power: x^e is 1 + e ln x, to the precision of float32."""


def fuse(marks: Tensor, fusing: FusionSettings) -> tuple[Tensor, Tensor]:
    """Return where the liver with its tumours is, and where tumours are: (…) each.

    Args:
        marks: (members, n, 2, rows, columns) probabilities of the two.
        fusing: by which fusion; not `best`, which is none yet.
    """
    liver, tumour = marks[:, :, 0], marks[:, :, 1]
    if fusing.kind == "weighted":
        of_liver, of_tumour = zip(*fusing.weights, strict=True)
        return weighted(liver, of_liver), weighted(tumour, of_tumour)
    rule = FUSIONS[fusing.kind]
    return rule(liver, fusing.liver_exponent), rule(tumour, fusing.tumour_exponent)


def rivals(fusing: FusionSettings) -> list[FusionSettings]:
    """Return every fusion that may be compared: the weighted mean where its weights are known."""
    kinds: list[FusionKind] = ["blumberg", "mean", "majority"]
    if fusing.weights:
        kinds.append("weighted")
    return [fusing.model_copy(update={"kind": kind}) for kind in kinds]


def blumberg(probability: Tensor, exponent: float) -> Tensor:
    """Fuse as BLUE-Net does: by fuzzy ranks of the confidences, with a penalty for dissent.

    A member's rank for a class counts only where the class is its own choice; elsewhere 1 counts.
    The class with the smaller product of summed ranks and lacking confidence wins, the background
    on a tie. The authors' notebook loops over pixels; this is the same in element-wise form, with
    as few steps as it takes: what speaks for the background is what does not speak for the class.
    """
    members = probability.unbind(0)
    gains, confidences, for_class, sure_of_class = (probability.new_zeros(()) for _ in range(4))
    for p in members:
        confidence = torch.maximum(p, 1 - p)  # in the member's own choice
        powered = _power(confidence, exponent)
        gain = powered / (0.5 + powered)  # 1 - rank
        # As numbers: products instead of branches, which every device computes alike.
        chosen = (p > 0.5).to(p.dtype)
        gains, confidences = gains + gain, confidences + confidence
        for_class, sure_of_class = for_class + chosen * gain, sure_of_class + chosen * confidence
    count = len(members)
    there = (count - for_class) * (count - sure_of_class)  # RS x CFS
    elsewhere = (count - (gains - for_class)) * (count - (confidences - sure_of_class))
    return there < elsewhere


def _power(x: Tensor, exponent: float) -> Tensor:
    """Return x to a power, for x in [0.5, 1]."""
    if exponent == 1:
        return x
    return 1 + exponent * _log(x) if exponent < TINY else x**exponent


def _log(x: Tensor) -> Tensor:
    """Return the natural logarithm to 0.0003, for x in [0.5, 1], by its series about 0.75."""
    y = x / 0.75 - 1
    series = y * (1 - y * (1 / 2 - y * (1 / 3 - y * (1 / 4 - y / 5))))
    return series + math.log(0.75)


def mean(probability: Tensor, exponent: float) -> Tensor:
    """Fuse by the plain average; the exponent is ignored."""
    return probability.mean(dim=0) > 0.5


def majority(probability: Tensor, exponent: float) -> Tensor:
    """Fuse by vote; the exponent is ignored."""
    return (probability > 0.5).float().mean(dim=0) > 0.5


def weighted(probability: Tensor, weights: Sequence[float]) -> Tensor:
    """Fuse by an average in which each member has its own weight; the weights sum to 1."""
    say = torch.tensor(weights).reshape(-1, *[1] * (probability.dim() - 1))
    return (probability * say).sum(dim=0) > 0.5


FUSIONS: dict[str, Fusion] = {"blumberg": blumberg, "mean": mean, "majority": majority}
"""Name to fusion, of those that have nothing to learn."""
