"""Neighbouring slices as a volume: MONAI's DynUNet, which answers for the slice in the middle.

Isensee et al. 2021 (nnU-Net, doi:10.1038/s41592-020-01008-z): kernels are flat as long as slices
lie much further apart than pixels, and strides never go where there is little to go over.
"""

import torch
from torch import Tensor, nn

from trainer.datasets.cases.neighbours import upwards

WIDTHS = (16, 32, 64, 128, 256)
"""Channels from fine to coarse, as the other members have them."""
FLAT, DEEP = (1, 3, 3), (3, 3, 3)
KERNELS = (FLAT, DEEP, DEEP, DEEP, DEEP)
"""Slices, rows, columns: slices are a few millimetres apart, as pixels are from the second on."""
STRIDES = ((1, 1, 1), *((1, 2, 2),) * 4)
"""A slab of three to seven slices has none to lose."""


class SlabUNet(nn.Module):
    """DynUNet over the depth that neighbours give: (N, slices x C, H, W) to (N, classes, H, W).

    Channels are in the order of `trainer.ensemble.windows.beside`. H and W are multiples of 16.
    Batch norm in place of the paper's instance norm, so that it folds into the convolutions.
    """

    def __init__(self, inputs: int, slices: int, classes: int) -> None:
        super().__init__()
        from monai.networks.nets.dynunet import DynUNet  # only who makes one pays for the import

        network = DynUNet(
            3, inputs // slices, classes, KERNELS, STRIDES, STRIDES[1:], WIDTHS, norm_name="batch"
        )
        self.levels = network.skip_layers  # DynUNet itself has each of its layers twice
        self.head = network.output_block
        self.slices = slices

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        features = self.levels(self.stacked(x))
        middle = self.slices // 2
        # A slice of one, not an index: the head is a 3-D convolution.
        scores: Tensor = self.head(features[:, :, middle : middle + 1])
        return scores.squeeze(2)

    def stacked(self, x: Tensor) -> Tensor:
        """Return (N, C, slices, H, W), the slices from the feet to the head."""
        # The members' order is own, below, above, …; convolutions in depth need theirs in space.
        beside = x.chunk(self.slices, dim=1)
        return torch.stack([beside[index] for index in upwards(self.slices // 2)], dim=2)
