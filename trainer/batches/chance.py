"""Random numbers for the slices of a batch, drawn where the batch lies."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.recipe.sections import Interval


@dataclass(frozen=True)
class Chance:
    """A source of random numbers, independent for each slice of a batch."""

    count: int
    """Slices of the batch."""
    random: torch.Generator
    place: torch.device
    """Device of the numbers; nothing crosses from the processor while a batch is made."""

    def uniform(self, *shape: int) -> Tensor:
        """Return numbers in [0, 1), `shape` of them for each slice."""
        return torch.rand((self.count, *shape), generator=self.random, device=self.place)

    def signed(self, *shape: int) -> Tensor:
        """Return numbers in [-1, 1)."""
        return self.uniform(*shape) * 2 - 1

    def normal(self, *shape: int) -> Tensor:
        """Return normal numbers of deviation 1."""
        return torch.randn((self.count, *shape), generator=self.random, device=self.place)

    def within(self, bounds: Interval) -> Tensor:
        """Return one number for each slice, evenly between two bounds: (n, 1, 1, 1)."""
        low, high = bounds
        return self.uniform(1, 1, 1) * (high - low) + low

    def happens(self, part: float) -> Tensor:
        """Return 1 for `part` of the slices and 0 for the others: (n, 1, 1, 1)."""
        return (self.uniform(1, 1, 1) < part).float()
