"""Loss of a member: the weighted terms of a recipe, masked where labels are unknown.

A pixel known as "liver or tumour" asks only that the two together be likely, so a slice without
drawn tumours never teaches that its tumours are liver. One known as "no tumour" asks only for that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid

from engine.volume import Label
from trainer.datasets.cases.target import Target
from trainer.recipe.sections import Loss

CLASSES = len(Label)


def segmentation_loss(scores: Tensor, target: Tensor, terms: Sequence[Loss]) -> Tensor:
    """Return the weighted sum of the terms.

    Args:
        scores: (n, 3, rows, columns) before the softmax, or (n, 2, rows, columns) before the
            sigmoid: the liver with its tumours, the tumours.
        target: (n, rows, columns) uint8, values of `Target`.
        terms: what to sum.
    """
    judge = _classes if scores.shape[1] == CLASSES else _each
    # float32: sums over a batch's pixels overflow or stall in half precision.
    judged = judge(scores.float(), target)
    return torch.stack([term.weight * _term(judged, term) for term in terms]).sum()


@dataclass(frozen=True)
class _Judged:
    """Predictions of a member and their targets."""

    overlaps: tuple[tuple[Tensor, Tensor, Tensor], ...]
    """Of liver and of tumour: the probability, the truth, and where that is known."""
    truths: tuple[tuple[Tensor, Tensor], ...]
    """Logarithm of the probability of what is true, and where that is known."""


def _classes(scores: Tensor, target: Tensor) -> _Judged:
    log_p = log_softmax(scores, dim=1)
    p = log_p.exp()
    truth = _Truth.of(target)
    either = torch.logsumexp(log_p[:, [Target.LIVER, Target.TUMOUR]], dim=1, keepdim=True)
    neither = torch.logsumexp(log_p[:, [Target.BACKGROUND, Target.LIVER]], dim=1, keepdim=True)
    # Further "classes" at index 3 and 4: Target.LIVER_OR_TUMOUR and Target.NO_TUMOUR.
    every = torch.cat([log_p, either, neither], dim=1)
    # 255 is no index; these pixels are masked afterwards.
    index = torch.where(truth.looked_at, target, 0).long()[:, None]
    liver = (p[:, Target.LIVER] + p[:, Target.TUMOUR], truth.inside, truth.known)
    tumour = (p[:, Target.TUMOUR], truth.tumour, truth.drawn)
    return _Judged((liver, tumour), ((every.gather(1, index)[:, 0], truth.looked_at),))


def _each(scores: Tensor, target: Tensor) -> _Judged:
    truth = _Truth.of(target)
    parts = ((truth.inside, truth.known), (truth.tumour, truth.drawn))
    overlaps = tuple(
        (scores[:, index].sigmoid(), there, known) for index, (there, known) in enumerate(parts)
    )
    truths = tuple(
        # log(1 - sigmoid(x)) is logsigmoid(-x), without the loss of digits near 1.
        (logsigmoid(torch.where(there, scores[:, index], -scores[:, index])), known)
        for index, (there, known) in enumerate(parts)
    )
    return _Judged(overlaps, truths)


@dataclass(frozen=True)
class _Truth:
    looked_at: Tensor
    known: Tensor
    """Mask of pixels where the liver would have been outlined."""
    inside: Tensor
    """In the liver or its tumours."""
    tumour: Tensor
    drawn: Tensor
    """Mask of pixels where tumours would have been outlined."""

    @staticmethod
    def of(target: Tensor) -> "_Truth":
        looked_at = target != Target.UNKNOWN
        known = looked_at & (target != Target.NO_TUMOUR)
        return _Truth(
            looked_at,
            known,
            known & (target != Target.BACKGROUND),
            target == Target.TUMOUR,
            looked_at & (target != Target.LIVER_OR_TUMOUR),
        )


def _term(judged: _Judged, term: Loss) -> Tensor:
    if term.kind in ("dice", "tversky"):
        chosen = _OVERLAPS_OF[term.of]
        return torch.stack([_overlap(term, *each) for each in judged.overlaps[chosen]]).sum()
    gamma = term.gamma if term.kind == "focal" else 0.0
    return torch.stack([focal_loss(*truth, gamma) for truth in judged.truths]).sum()


_OVERLAPS_OF = {"both": slice(None), "liver": slice(0, 1), "tumour": slice(1, 2)}


def _overlap(term: Loss, p: Tensor, truth: Tensor, where: Tensor) -> Tensor:
    if term.kind == "dice":
        return dice_loss(p, truth, where)
    return tversky_loss(p, truth, where, term.alpha, term.beta)


def focal_loss(log_p: Tensor, where: Tensor, gamma: float) -> Tensor:
    """Return the mean of -(1 - p)^gamma log p; cross-entropy where gamma is 0 (arXiv:1708.02002).

    Args:
        log_p: logarithm of the probability of what is true.
        where: the pixels that count.
        gamma: how little those count that are sure.
    """
    loss = -log_p
    if gamma:
        loss = loss * (1 - log_p.exp()) ** gamma
    return (loss * where).sum() / where.sum().clamp(min=1)


def dice_loss(p: Tensor, truth: Tensor, where: Tensor) -> Tensor:
    """Return 1 - Dice of probabilities over all pixels `where` of a batch."""
    p = p * where
    both = (p * truth).sum()
    # + 1 on both sides: an empty truth that is left empty costs nothing, and no division by 0.
    return 1 - (2 * both + 1) / (p.sum() + truth.sum() + 1)


def tversky_loss(p: Tensor, truth: Tensor, where: Tensor, alpha: float, beta: float) -> Tensor:
    """Return 1 - the Tversky index over all pixels `where` of a batch (arXiv:1706.05721).

    Args:
        p: probability of the structure.
        truth: whether it is there.
        where: the pixels that count.
        alpha: weight of false positives.
        beta: weight of false negatives; with both 0.5 it is the Dice loss.
    """
    p, true = p * where, (truth & where).float()
    both = (p * true).sum()
    falsely, missed = (p * (1 - true)).sum(), ((1 - p) * true).sum()
    return 1 - (both + 1) / (both + alpha * falsely + beta * missed + 1)
