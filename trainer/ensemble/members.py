"""Networks as members: how the recipe's targets are shared out among them.

A member turns channels (n, C, rows, columns) into scores: three classes before the softmax, or two
planes before the sigmoid, the liver with its tumours and the tumours.
"""

import torch
from torch import Tensor, nn

from engine.volume import Label
from trainer.networks import IN_DEPTH, NETWORKS, Make
from trainer.recipe.recipe import Member, Recipe

CLASSES = len(Label)


def make_member(recipe: Recipe, member: Member) -> nn.Module:
    """Return a member that has learnt nothing yet, its weights drawn from torch's own chance."""
    make, channels = _maker(recipe, member), recipe.working.channels
    match recipe.targets:
        case "each":
            return Each(make, channels)
        case "cascade":
            return Cascade(make, channels)
        case "classes":
            return make(channels, CLASSES)


def _maker(recipe: Recipe, member: Member) -> Make:
    """Return the constructor of a member's network, which may depend on the number of slices."""
    if member.network not in IN_DEPTH:
        return NETWORKS[member.network]
    make, slices = IN_DEPTH[member.network], recipe.working.slices
    return lambda channels, classes: make(channels, slices, classes)


def to_marks(scores: Tensor) -> Tensor:
    """Return probabilities (n, 2, rows, columns): the liver with its tumours, the tumours."""
    if scores.shape[1] < CLASSES:
        return scores.sigmoid()
    p = scores.softmax(dim=1)
    # All that is not background is liver: a tumour counts as part of it, as in LiTS.
    return torch.stack([1 - p[:, Label.BACKGROUND], p[:, Label.TUMOUR]], dim=1)


class Each(nn.Module):
    """Two networks of one kind: one for the liver, one for the tumours."""

    def __init__(self, make: Make, channels: int) -> None:
        super().__init__()
        self.liver = make(channels, 1)
        self.tumour = make(channels, 1)

    def forward(self, seen: Tensor) -> Tensor:  # noqa: D102
        return torch.cat([self.liver(seen), self.tumour(seen)], dim=1)


class Cascade(nn.Module):
    """A network that finds the liver, and one that is shown nothing but the liver."""

    def __init__(self, make: Make, channels: int) -> None:
        super().__init__()
        self.liver = make(channels, 1)
        self.tumour = make(channels, 1)

    def forward(self, seen: Tensor, inside: Tensor | None = None) -> Tensor:
        """Return the scores of both.

        Args:
            seen: (n, C, rows, columns).
            inside: (n, 1, rows, columns), 1 in the true liver: what the second network learns
                with. Left out in use, where what the first one finds takes its place.
        """
        liver = self.liver(seen)
        if inside is None:
            # Scores before the sigmoid: above 0 is a probability above 0.5.
            inside = (liver > 0).to(seen.dtype)
        return torch.cat([liver, self.tumour(seen * inside)], dim=1)
