"""The networks that a recipe may name: channels (N, C, H, W) to class scores (N, classes, H, W)."""

from collections.abc import Callable

from torch import nn

from trainer.networks.encoded_unet import EncodedUNet
from trainer.networks.fpn import Fpn
from trainer.networks.linknet import LinkNet
from trainer.networks.mobilenet import MobileNetEncoder
from trainer.networks.resunet import ResUNet
from trainer.networks.slab import SlabUNet
from trainer.networks.unet import DROPOUTS, UNet

Make = Callable[[int, int], nn.Module]
"""Constructor: the numbers of input channels and of classes to a network."""

NETWORKS: dict[str, Make] = {
    "unet": UNet,
    "linknet": LinkNet,
    "fpn": Fpn,
    "unet-dropout": lambda inputs, classes: UNet(inputs, classes, DROPOUTS),
    "resunet": ResUNet,
    "mobilenet-unet": lambda inputs, classes: EncodedUNet(MobileNetEncoder(inputs), classes),
    "mobilenet-linknet": lambda inputs, classes: LinkNet(inputs, classes, MobileNetEncoder(inputs)),
    "mobilenet-fpn": lambda inputs, classes: Fpn(inputs, classes, MobileNetEncoder(inputs)),
}
"""Name to constructor."""

IN_DEPTH: dict[str, Callable[[int, int, int], nn.Module]] = {"dynunet": SlabUNet}
"""Likewise those that see neighbouring slices as a volume: the numbers of input channels, of the
slices that they are of, and of classes to a network."""
