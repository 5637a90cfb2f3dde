"""How the members' probabilities become one decision.

Every fusion takes one class's foreground probabilities (members, …) and tells, pixel by pixel,
whether the class is there.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainer.settings import Fusing, FusionKind

Fusion = Callable[[Tensor, float], Tensor]
"""Probabilities (members, …) and the class's exponent to a boolean tensor (…)."""


def fuse(marks: Tensor, fusing: Fusing) -> tuple[Tensor, Tensor]:
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


def rivals(fusing: Fusing) -> list[Fusing]:
    """Return every fusion that may be compared: the weighted mean where its weights are known."""
    kinds: list[FusionKind] = ["blumberg", "mean", "majority"]
    if fusing.weights:
        kinds.append("weighted")
    return [fusing.model_copy(update={"kind": kind}) for kind in kinds]


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


def weighted(probability: Tensor, weights: Sequence[float]) -> Tensor:
    """Fuse by an average in which each member has its own say; the weights sum to 1."""
    say = torch.tensor(weights).reshape(-1, *[1] * (probability.dim() - 1))
    return (probability * say).sum(dim=0) > 0.5


FUSIONS: dict[str, Fusion] = {"blumberg": blumberg, "mean": mean, "majority": majority}
"""Name to fusion, of those that have nothing to learn."""
