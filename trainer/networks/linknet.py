"""LinkNet (Chaurasia & Culurciello 2017, arXiv:1707.03718) on any encoder."""

from torch import Tensor, nn

from trainer.networks.blocks import ConvNormAct
from trainer.networks.encoder import AnyEncoder, Encoder


class LinkNet(nn.Module):
    """Add each encoder map to the upsampled one: (N, C, H, W) to (N, classes, H, W)."""

    def __init__(self, inputs: int, classes: int, encoder: AnyEncoder | None = None) -> None:
        super().__init__()
        self.encoder = encoder or Encoder(inputs)
        fine, coarse = self.encoder.channels[:-1], self.encoder.channels[1:]
        self.ups = nn.ModuleList(
            UpBlock(c, f) for c, f in zip(reversed(coarse), reversed(fine), strict=True)
        )
        self.head = nn.Sequential(
            nn.ConvTranspose2d(self.encoder.channels[0], 24, 2, stride=2, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(inplace=True),
            nn.Conv2d(24, classes, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        *skips, x = self.encoder(x)
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x) + skip
        scores: Tensor = self.head(x)
        return scores


class UpBlock(nn.Sequential):
    """Double the size through a bottleneck of half the channels (the paper: a quarter)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        narrow = inputs // 2
        super().__init__(
            ConvNormAct(inputs, narrow, 1),
            nn.ConvTranspose2d(narrow, narrow, 2, stride=2, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(inplace=True),
            ConvNormAct(narrow, outputs),
        )
