"""The residual encoder that LinkNet and FPN share where no other is asked for."""

from typing import Protocol

from torch import Tensor, nn

from trainer.networks.blocks import ConvNormAct, ResidualBlock

STEM = 24
WIDTHS = (32, 64, 112, 160)
"""Channels at 1/4, 1/8, 1/16 and 1/32 of the input's size."""


class AnyEncoder(Protocol):
    """Encoder of a decoder network: maps (N, C, H, W) to feature maps of halving size."""

    channels: tuple[int, ...]
    """Of every map; the first is at half the input's size."""

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Return the maps, from fine to coarse."""
        ...


class Encoder(nn.Module):
    """A narrow ResNet: (N, C, H, W) to five maps, each half the size of the one before.

    The first is at half the input's size; H and W are multiples of 32.
    """

    channels = (STEM, *WIDTHS)

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvNormAct(inputs, STEM, 5, stride=2), ConvNormAct(STEM, STEM))
        self.stages = nn.ModuleList(
            nn.Sequential(ResidualBlock(before, after, stride=2), ResidualBlock(after, after))
            for before, after in zip(self.channels, WIDTHS, strict=False)
        )

    def forward(self, x: Tensor) -> list[Tensor]:  # noqa: D102
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps
