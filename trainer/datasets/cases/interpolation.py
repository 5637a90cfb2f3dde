"""Slices to the working grid and back, as products with small matrices.

Along each axis, resampling is linear interpolation: a matrix whose rows are hat functions. Where
the target is coarser than the source the hats widen, so that nothing aliases. Matrices made of the
spacing need no library's idea of a grid, and every device multiplies them alike.

Training samples at places that are turned and bent, for which there are no such matrices: there
`smoothed` widens the hats beforehand.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad


def interpolation(targets: Tensor, sources: int, ratio: Tensor) -> Tensor:
    """Return the matrix (…, targets, sources) that samples along one axis.

    Args:
        targets: (…, targets), where to sample, in source pixels from the middle of the source's
            axis.
        sources: length of the source's axis.
        ratio: (…) target spacing over source spacing; hats widen when it is above 1.
    """
    # Centres of pixels, so that both grids share their middle whatever their lengths.
    places = torch.arange(sources, dtype=torch.float32, device=targets.device) - (sources - 1) / 2
    width = ratio.clamp(min=1.0)[..., None, None]
    weights = (1 - (targets[..., None] - places).abs() / width).clamp(min=0)
    # Targets beyond the source have no weight at all; they become 0, not NaN.
    return weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-6)


def step_mm(field_mm: Tensor, size: int, spacing_mm: float) -> Tensor:
    """Return the pixel distance of a working grid: wider where a field of view does not fit in it.

    Args:
        field_mm: extent of slices.
        size: rows and columns of the working grid.
        spacing_mm: the least distance.
    """
    return (field_mm / size).clamp(min=spacing_mm)


def hat_reach(widest: float) -> int:
    """Return how many pixels on either side a hat that is widened so far has weight on."""
    return max(0, math.ceil(widest) - 1)


def smoothed(images: Tensor, ratio: Tensor, reach: int) -> Tensor:
    """Return slices whose bilinear samples are those of hats that are widened by `ratio`.

    Args:
        images: (n, s, rows, columns).
        ratio: (n,) target spacing over source spacing; at 1 or below a slice stays as it is.
        reach: `hat_reach` of the largest ratio, which a device would have to be waited for.
    """
    if reach < 1:
        return images
    hats = [(1 - each / ratio.clamp(min=1.0)).clamp(min=0) for each in range(reach + 1)]
    whole = hats[0] + 2 * sum(hats[1:])
    weights = [(hat / whole)[:, None, None, None] for hat in hats]
    # First along rows, then along columns. Sums of shifted slices take half the time of a
    # convolution with a kernel for each slice.
    for axis, rim in ((-1, (reach, reach, 0, 0)), (-2, (0, 0, reach, reach))):
        length, padded = images.shape[axis], pad(images, rim, mode="replicate")
        images = padded.narrow(axis, reach, length) * weights[0]
        for away in range(1, reach + 1):
            for start in (reach - away, reach + away):
                images.addcmul_(padded.narrow(axis, start, length), weights[away])
    return images


def axis_mm(length: int, spacing_mm: Tensor) -> Tensor:
    """Return the millimetres (…, length) of each pixel's centre from the middle of its axis."""
    pixels = torch.arange(length, dtype=torch.float32, device=spacing_mm.device)
    return (pixels - (length - 1) / 2) * spacing_mm[..., None]
