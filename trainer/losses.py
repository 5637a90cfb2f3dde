"""What a member is to make small: cross-entropy and Dice that respect what is not known."""

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from trainer.slices import Target


def segmentation_loss(scores: Tensor, target: Tensor) -> Tensor:
    """Return cross-entropy plus Dice of the whole liver plus Dice of the tumours.

    A pixel known as "liver or tumour" asks only that the two together be likely, so a slice
    without drawn tumours never teaches that its tumours are liver.

    Args:
        scores: (n, 3, rows, columns), before the softmax.
        target: (n, rows, columns) uint8, values of `Target`.
    """
    log_p = log_softmax(scores.float(), dim=1)
    p = log_p.exp()
    known = target != Target.UNKNOWN
    inside = known & (target != Target.BACKGROUND)
    drawn = known & (target != Target.LIVER_OR_TUMOUR)
    liver = dice_loss(p[:, Target.LIVER] + p[:, Target.TUMOUR], inside, known)
    tumour = dice_loss(p[:, Target.TUMOUR], target == Target.TUMOUR, drawn)
    return cross_entropy(log_p, target) + liver + tumour


def cross_entropy(log_p: Tensor, target: Tensor) -> Tensor:
    """Return the mean over known pixels of -log p, "liver or tumour" being their sum."""
    either = torch.logsumexp(log_p[:, [Target.LIVER, Target.TUMOUR]], dim=1, keepdim=True)
    every = torch.cat([log_p, either], dim=1)
    known = target != Target.UNKNOWN
    index = torch.where(known, target, 0).long()[:, None]
    loss = -every.gather(1, index)[:, 0]
    return (loss * known).sum() / known.sum().clamp(min=1)


def dice_loss(p: Tensor, truth: Tensor, where: Tensor) -> Tensor:
    """Return 1 - Dice of probabilities over all pixels `where` of a batch."""
    p = p * where
    both = (p * truth).sum()
    return 1 - (2 * both + 1) / (p.sum() + truth.sum() + 1)
