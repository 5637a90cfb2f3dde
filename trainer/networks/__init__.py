"""The members that a recipe may name: CT windows (N, C, H, W) to class scores (N, 3, H, W)."""

from collections.abc import Callable

from torch import nn

from trainer.networks.fpn import Fpn
from trainer.networks.linknet import LinkNet
from trainer.networks.unet import UNet

NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "unet": UNet,
    "linknet": LinkNet,
    "fpn": Fpn,
}
"""Name to constructor; a constructor takes the numbers of input channels and of classes."""
