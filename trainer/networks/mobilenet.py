"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) as an encoder, learnt from nothing."""

from itertools import pairwise

from torch import Tensor, nn

STAGES = (
    ((1, 16, 1, 1),),
    ((6, 24, 2, 2),),
    ((6, 32, 3, 2),),
    ((6, 64, 4, 2), (6, 96, 3, 1)),
    ((6, 160, 3, 2), (6, 320, 1, 1)),
)
"""The paper's table 2, a stage per map: expansion, channels, blocks, stride of the first block.

The last 1x1 convolution, to 1280 channels for a classifier, is left out.
"""

STEM = 32


class MobileNetEncoder(nn.Module):
    """(N, C, H, W) to five maps, each half the size of the one before.

    The first is at half the input's size; H and W are multiples of 32.
    """

    channels = tuple(stage[-1][1] for stage in STAGES)

    def __init__(self, inputs: int) -> None:
        super().__init__()
        befores = (STEM, *self.channels)
        self.stem = ConvNormAct6(inputs, STEM, 3, stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(*_blocks(before, rows))
            for before, rows in zip(befores, STAGES, strict=False)
        )

    def forward(self, x: Tensor) -> list[Tensor]:  # noqa: D102
        maps: list[Tensor] = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def _blocks(before: int, rows: tuple[tuple[int, int, int, int], ...]) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    for t, c, n, s in rows:
        widths = pairwise((before, *[c] * n))
        # Names as in the paper's table: t expansion, c channels, n blocks, s stride.
        blocks += [InvertedResidual(b, a, t, s if i == 0 else 1) for i, (b, a) in enumerate(widths)]
        before = c
    return blocks


class ConvNormAct6(nn.Sequential):
    """Convolution, batch norm, ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(inplace=True),
        )


class InvertedResidual(nn.Module):
    """Widen by t, filter each channel alone, narrow without activation (figure 3b)."""

    def __init__(self, inputs: int, outputs: int, t: int, stride: int) -> None:
        super().__init__()
        wide = inputs * t
        self.layers = nn.Sequential(
            # Nothing to widen where t is 1, in the first block.
            *([ConvNormAct6(inputs, wide, 1)] if t > 1 else []),
            ConvNormAct6(wide, wide, 3, stride, groups=wide),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.residual = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y: Tensor = self.layers(x)
        return x + y if self.residual else y
