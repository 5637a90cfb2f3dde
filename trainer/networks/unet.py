"""U-Net (Ronneberger et al. 2015, arXiv:1505.04597), narrow, with batch norm and padding."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from trainer.networks.blocks import ConvNormAct

WIDTHS = (16, 32, 64, 128, 256)
"""Channels from fine to coarse.

MONAI's BasicUNet of these widths took 1.4 to 1.8 times the CPU time of this one in bfloat16.
"""

DROPOUTS = (0.1, 0.1, 0.2, 0.2, 0.3)
"""Part of the values that is dropped between a pair of convolutions, from fine to coarse."""

NONE = (0.0,) * len(WIDTHS)


class UNet(nn.Module):
    """Contract, expand, and concatenate on the way: (N, C, H, W) to (N, classes, H, W).

    H and W are multiples of 16.
    """

    def __init__(self, inputs: int, classes: int, dropouts: tuple[float, ...] = NONE) -> None:
        super().__init__()
        befores = (inputs, *WIDTHS[:-1])
        self.downs = nn.ModuleList(
            DoubleConv(before, width, dropout)
            for before, width, dropout in zip(befores, WIDTHS, dropouts, strict=True)
        )
        steps = list(zip(WIDTHS[1:], WIDTHS[:-1], strict=True))  # (coarse, fine)
        self.ups = nn.ModuleList(
            DoubleConv(c + f, f, dropout)
            # Not strict: the bottom's dropout has no step upwards.
            for (c, f), dropout in reversed(list(zip(steps, dropouts, strict=False)))
        )
        self.head = nn.Conv2d(WIDTHS[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        skips: list[Tensor] = []
        for level, down in enumerate(self.downs):
            x = down(x if level == 0 else max_pool2d(x, 2))
            skips.append(x)
        for up, skip in zip(self.ups, reversed(skips[:-1]), strict=True):
            x = up(torch.cat([interpolate(x, scale_factor=2.0), skip], dim=1))
        scores: Tensor = self.head(x)
        return scores


class DoubleConv(nn.Sequential):
    """The paper's pair of 3x3 convolutions, with values dropped in between where asked for."""

    def __init__(self, inputs: int, outputs: int, dropout: float = 0.0) -> None:
        first, second = ConvNormAct(inputs, outputs), ConvNormAct(outputs, outputs)
        between = [nn.Dropout(dropout)] if dropout else []
        super().__init__(first, *between, second)
