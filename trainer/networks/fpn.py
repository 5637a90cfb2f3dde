"""Panoptic FPN's semantic branch (Kirillov et al. 2019, arXiv:1901.02446) on any encoder."""

from torch import Tensor, nn
from torch.nn.functional import interpolate

from trainer.networks.blocks import ConvNormAct
from trainer.networks.encoder import AnyEncoder, Encoder

PYRAMID = 48
"""Channels of every level of the pyramid."""


class Fpn(nn.Module):
    """Sum what each level of a feature pyramid sees: (N, C, H, W) to (N, classes, H, W)."""

    def __init__(self, inputs: int, classes: int, encoder: AnyEncoder | None = None) -> None:
        super().__init__()
        self.encoder = encoder or Encoder(inputs)
        self.laterals = nn.ModuleList(nn.Conv2d(c, PYRAMID, 1) for c in self.encoder.channels)
        self.smooths = nn.ModuleList(ConvNormAct(PYRAMID, PYRAMID) for _ in self.encoder.channels)
        self.head = nn.Sequential(ConvNormAct(PYRAMID, PYRAMID), nn.Conv2d(PYRAMID, classes, 1))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        levels = self._pyramid(self.encoder(x))
        seen = levels[0]
        for level in levels[1:]:
            seen = seen + resize(level, seen)
        return resize(self.head(seen), x)

    def _pyramid(self, maps: list[Tensor]) -> list[Tensor]:
        """Return the smoothed levels, from fine to coarse."""
        top: Tensor | None = None
        levels: list[Tensor] = []
        for fine, lateral, smooth in reversed(
            list(zip(maps, self.laterals, self.smooths, strict=True))
        ):
            side = lateral(fine)
            top = side if top is None else side + interpolate(top, scale_factor=2.0)
            levels.insert(0, smooth(top))
        return levels


def resize(scores: Tensor, like: Tensor) -> Tensor:
    """Bring `scores` to the height and width of `like`, bilinear."""
    # Half-pixel centres: ONNX's default for Resize.
    return interpolate(scores, size=like.shape[-2:], mode="bilinear", align_corners=False)
