"""Where a member with a box of its own looks: at the liver of each slice."""

from typing import NamedTuple

import torch
from torch import Tensor


class Box(NamedTuple):
    """Place of a square grid on each slice."""

    step_mm: Tensor
    """(n,) distance of its pixels."""
    middle_mm: Tensor
    """(n, 2) rows and columns from the middle of the slice."""


def box_around(
    liver: Tensor, pixel_mm: Tensor, size: int, spacing_mm: float, margin_mm: float
) -> Box:
    """Return the grids around the liver, in the middle of the slice where there is none.

    Args:
        liver: (n, rows, columns) 1 or True where it is.
        pixel_mm: (n,) or (), of its pixels, which are square.
        size: rows and columns of the grid.
        spacing_mm: distance of its pixels; more where the liver would not fit.
        margin_mm: least distance from the liver to the edge of the grid.
    """
    # As numbers: TensorRT reduces no booleans.
    spans = [_span(liver.float().amax(dim=axis)) for axis in (2, 1)]
    middle = torch.stack([(first + last) / 2 for first, last in spans], dim=-1)
    longest = torch.maximum(*[last - first for first, last in spans]) + 1
    step_mm = ((longest * pixel_mm + 2 * margin_mm) / size).clamp(min=spacing_mm)
    return Box(step_mm, middle * pixel_mm[..., None])


def _span(there: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and the last pixel of an axis that is there, from the axis's middle.

    Both are 0 where none is. Without sorting or arguments of extremes, which not every device has.

    Args:
        there: (n, length) 1 where something is, 0 elsewhere.
    """
    length = there.shape[-1]
    place = torch.arange(length, dtype=torch.float32, device=there.device) - (length - 1) / 2
    beyond = float(length)
    first = torch.where(there > 0, place, beyond).amin(dim=-1)
    last = torch.where(there > 0, place, -beyond).amax(dim=-1)
    found = there.amax(dim=-1)
    return first * found, last * found
