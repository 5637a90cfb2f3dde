"""Hounsfield units to the channels that members see."""

import torch
from torch import Tensor, nn

from trainer.recipe import Window


class Windows(nn.Module):
    """(n, rows, columns) HU to (n, windows, rows, columns), each window's bounds at 0 and 1."""

    low: Tensor
    high: Tensor

    def __init__(self, windows: tuple[Window, ...]) -> None:
        super().__init__()
        low, high = torch.tensor(windows, dtype=torch.float32).T[:, None, :, None, None]
        self.register_buffer("low", low.contiguous())
        self.register_buffer("high", high.contiguous())

    def forward(self, hu: Tensor) -> Tensor:  # noqa: D102
        scaled: Tensor = (hu[:, None] - self.low) / (self.high - self.low)
        return scaled.clamp(0, 1)
