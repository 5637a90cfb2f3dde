"""ResUNet (Zhang et al. 2018, arXiv:1711.10684): a U-Net of residual units with pre-activation."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

WIDTHS = (16, 32, 64, 128, 256)
"""Channels from fine to coarse."""


class ResUNet(nn.Module):
    """Contract by strides, expand, and concatenate: (N, C, H, W) to (N, classes, H, W).

    H and W are multiples of 16.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        first, *rest = WIDTHS
        self.stem = Stem(inputs, first)
        self.downs = nn.ModuleList(
            # `zip` ends with the shorter: the last width has no unit below it.
            PreActivation(before, width, stride=2)
            for before, width in zip(WIDTHS, rest, strict=False)
        )
        steps = list(zip(WIDTHS[1:], WIDTHS[:-1], strict=True))  # (coarse, fine)
        self.ups = nn.ModuleList(PreActivation(c + f, f) for c, f in reversed(steps))
        self.head = nn.Sequential(
            nn.BatchNorm2d(first), nn.ReLU(inplace=True), nn.Conv2d(first, classes, 1)
        )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = self.stem(x)
        skips: list[Tensor] = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(torch.cat([interpolate(x, scale_factor=2.0), skip], dim=1))
        scores: Tensor = self.head(x)
        return scores


class PreActivation(nn.Module):
    """Twice norm, ReLU and 3x3 convolution, around a shortcut (arXiv:1603.05027, figure 1b)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y: Tensor = self.residual(x) + self.shortcut(x)
        return y


class Stem(nn.Module):
    """The first unit, which has nothing to activate yet."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y: Tensor = self.residual(x) + self.shortcut(x)
        return y
