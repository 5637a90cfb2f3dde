"""Grad-CAM and activation maps of a member.

Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) as Seg-Grad-CAM applies it to segmentation
(Vinogradova et al. 2020, arXiv:2002.11434): what is explained is the sum of a structure's log-odds
over the pixels that the member marks.

A member in three dimensions has maps of all the slices that it sees; what is shown is the plane of
the slice that it marks.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn
from torch.nn.functional import interpolate

from trainer.ensemble.members import Cascade, Each, to_marks
from trainer.evaluation.metrics.exam import Structure

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d, nn.ConvTranspose3d)
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SiLU, nn.Hardswish)
HEAD = 4
"""A convolution with fewer channels than this gives scores, not features."""
LIKELIEST = 0.01
"""Part of the pixels that are explained where a member marks none."""
INDEX = {Structure.LIVER: 0, Structure.TUMOUR: 1}
"""Of the planes of a member's marks."""


@dataclass(frozen=True, eq=False)
class Cams:
    """Grad-CAMs of one member and structure, (rows, columns) of the working grid, 0 to 1."""

    deep: Tensor
    """Of the coarsest features: what context speaks for the structure."""
    fine: Tensor
    """Of the last features: what the decision is made of."""
    marked: bool
    """The member marks the structure; otherwise its likeliest pixels are explained."""


def grad_cams(member: nn.Module, seen: Tensor, structure: Structure) -> Cams:
    """Return where a member looks for a structure.

    Args:
        member: in evaluation mode.
        seen: (1, channels, rows, columns) what it is shown.
        structure: which of its marks to explain.
    """
    with torch.inference_mode():
        mark = to_marks(member(seen))[:, INDEX[structure]]
    marked = mark > 0.5
    chosen = marked if marked.any() else mark >= mark.flatten().quantile(1 - LIKELIEST)
    chosen = chosen.clone()  # of its own, for gradients

    def evidence(shown: Tensor) -> Tensor:
        found = to_marks(member(shown))[:, INDEX[structure]]
        # Log-odds: the gradient of a probability vanishes where the member is sure. 1e-6 keeps them
        # finite.
        return (found.logit(1e-6) * chosen).sum(dim=(1, 2))

    deep, fine = _layers(_part(member, structure), member, seen)
    return Cams(_cam(evidence, deep, seen), _cam(evidence, fine, seen), marked=bool(marked.any()))


def activations(member: nn.Module, seen: Tensor) -> dict[int, Tensor]:
    """Return the mean of a member's last features of every size, by their rows; each 0 to 1.

    Of a member that is several networks, the last one speaks.
    """
    kinds = ACTIVATIONS if _has(member, ACTIVATIONS) else CONVOLUTIONS
    with torch.inference_mode(), _watched(member, kinds) as watch:
        member(seen)
    size = seen.shape[-2:]
    return {
        each.shape[-2]: _spread(_own_plane(each.abs().mean(dim=1, keepdim=True)), size)
        for each in sorted(watch.last.values(), key=lambda kept: -kept.shape[-2])
    }


@dataclass
class _Watch:
    """Recorded activations of a network's layers."""

    order: list[tuple[nn.Module, torch.Size]] = field(default_factory=list)
    last: dict[int, Tensor] = field(default_factory=dict)
    """Rows to the features of that size that came last."""


@contextmanager
def _watched(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[_Watch]:
    watch = _Watch()

    def keep(layer: nn.Module, _: object, output: Tensor) -> None:
        watch.order.append((layer, output.shape))
        watch.last[output.shape[-2]] = output.clone()  # what follows may work in place

    watched = [each for each in network.modules() if isinstance(each, kinds)]
    hooks = [each.register_forward_hook(keep) for each in watched]
    try:
        yield watch
    finally:
        for hook in hooks:
            hook.remove()


def _layers(part: nn.Module, member: nn.Module, seen: Tensor) -> tuple[nn.Module, nn.Module]:
    """Return the last convolution among the coarsest, and the last of all before the scores."""
    # The whole member runs, not the part: a cascade's second network is given the first one's
    # liver.
    with torch.inference_mode(), _watched(part, CONVOLUTIONS) as watch:
        member(seen)
    features = [(layer, shape[-2]) for layer, shape in watch.order if shape[1] >= HEAD]
    least = min(rows for _, rows in features)
    deep = [layer for layer, rows in features if rows == least][-1]
    return deep, features[-1][0]


def _part(member: nn.Module, structure: Structure) -> nn.Module:
    """Return the network that marks a structure, where a member is several."""
    if isinstance(member, Each | Cascade):
        return member.liver if structure is Structure.LIVER else member.tumour
    return member


def _has(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    return any(isinstance(each, kinds) for each in network.modules())


def _cam(evidence: Callable[[Tensor], Tensor], layer: nn.Module, seen: Tensor) -> Tensor:
    cam = LayerGradCam(evidence, layer).attribute(seen, relu_attributions=True)
    return _spread(_own_plane(cam.detach()), seen.shape[-2:])


def _own_plane(maps: Tensor) -> Tensor:
    """Return (1, 1, rows, columns), of (1, 1, slices, rows, columns) the slice in the middle."""
    return maps if maps.dim() == 4 else maps[:, :, maps.shape[2] // 2]


def _spread(map_: Tensor, size: torch.Size) -> Tensor:
    """Return (1, 1, rows, columns) at another size as (rows, columns), its bounds at 0 and 1."""
    wide = interpolate(map_, size=size, mode="bilinear", align_corners=False)[0, 0]
    low, high = wide.min(), wide.max()
    return (wide - low) / (high - low).clamp(min=1e-12)
