"""Slices to the working grid and back, as products with small matrices.

Along each axis, resampling is linear interpolation: a matrix whose rows are hat functions. Where
the target is coarser than the source the hats widen, so that nothing aliases. Matrices made of the
spacing need no library's idea of a grid, and every device multiplies them alike.
"""

import torch
from torch import Tensor


def interpolation(targets: Tensor, sources: int, ratio: Tensor) -> Tensor:
    """Return the matrix (targets, sources) that samples along one axis.

    Args:
        targets: where to sample, in source pixels from the middle of the source's axis.
        sources: length of the source's axis.
        ratio: target spacing over source spacing; hats widen when it is above 1.
    """
    # Centres of pixels, so that both grids share their middle whatever their lengths.
    places = torch.arange(sources, dtype=torch.float32) - (sources - 1) / 2
    width = ratio.clamp(min=1.0)
    weights = (1 - (targets[:, None] - places[None]).abs() / width).clamp(min=0)
    # Targets beyond the source have no weight at all; they become 0, not NaN.
    return weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-6)


def axis_mm(length: int, spacing_mm: Tensor) -> Tensor:
    """Return the millimetres of each pixel's centre from the middle of its axis."""
    return (torch.arange(length, dtype=torch.float32) - (length - 1) / 2) * spacing_mm
