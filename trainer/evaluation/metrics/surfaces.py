"""Surface distances, by MONAI."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.surface_dice import compute_surface_dice

from trainer.evaluation.metrics.exam import Mask

NAN = float("nan")


@dataclass(frozen=True)
class Nearness:
    """Two figures of one pair of surfaces; nan where there is none to speak of."""

    nsd: float
    """Normalised surface distance: part of both surfaces within the tolerance of the other."""
    hd95_mm: float
    """Hausdorff distance, 95th percentile; the larger of both directions."""


def nearness(
    found: Mask, true: Mask, spacing_mm: tuple[float, ...], tolerance_mm: float
) -> Nearness:
    """Return how near the surface of what was found is to that of what was drawn.

    Where only one of them is there the NSD is 0 and the HD95 does not exist; where neither is,
    neither does. In a slice, surfaces are outlines. The NSD weighs surface elements by their area
    (Nikolov et al. 2021, doi:10.2196/26151).
    """
    if not (found.any() and true.any()):
        return Nearness(0.0 if found.any() or true.any() else NAN, NAN)
    # Distance transforms take time with the volume, of which the liver is a small part.
    box = _box(found | true)
    # Padded: a mask that fills the box must have a surface on all sides.
    one, other = (torch.from_numpy(np.pad(mask[box], 1))[None, None] for mask in (found, true))
    spacing = list(spacing_mm)
    with warnings.catch_warnings():
        # MONAI 1.6 passes itself an argument that it has deprecated.
        warnings.filterwarnings("ignore", ".*always_return_as_numpy", FutureWarning)
        nsd = compute_surface_dice(
            one,
            other,
            [tolerance_mm],
            include_background=True,
            spacing=spacing,
            use_subvoxels=True,
        )
        hd95 = compute_hausdorff_distance(
            one, other, include_background=True, percentile=95, spacing=spacing
        )
    return Nearness(float(nsd), float(hd95))


def _box(mask: Mask) -> tuple[slice, ...]:
    """Return the smallest box around a mask that is not empty."""
    places = (
        np.flatnonzero(mask.any(axis=tuple(set(range(mask.ndim)) - {axis})))
        for axis in range(mask.ndim)
    )
    return tuple(slice(int(place[0]), int(place[-1]) + 1) for place in places)
