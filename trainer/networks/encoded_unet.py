"""A U-Net whose way down is an encoder made for something else."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from trainer.networks.encoder import AnyEncoder
from trainer.networks.unet import DoubleConv

WIDTHS = (256, 128, 64, 32, 16)
"""Channels on the way up, from 1/16 of the input's size to the whole."""


class EncodedUNet(nn.Module):
    """Expand and concatenate: (N, C, H, W) to (N, classes, H, W), H and W multiples of 32."""

    def __init__(self, encoder: AnyEncoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        *skips, deepest = encoder.channels
        befores = (deepest, *WIDTHS[:-1])
        beside = (*reversed(skips), 0)  # at full size there is no map to go with
        self.ups = nn.ModuleList(
            DoubleConv(before + skip, width)
            for before, skip, width in zip(befores, beside, WIDTHS, strict=True)
        )
        self.head = nn.Conv2d(WIDTHS[-1], classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        *skips, x = self.encoder(x)
        for up, skip in zip(self.ups, [*reversed(skips), None], strict=True):
            x = interpolate(x, scale_factor=2.0)
            x = up(x if skip is None else torch.cat([x, skip], dim=1))
        scores: Tensor = self.head(x)
        return scores
