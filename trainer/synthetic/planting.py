"""A place in the liver for a tumour, and the slice with the tumour in it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from trainer.datasets.target import Target
from trainer.synthetic.lesion import Lesion, Plane, Window, cloud, draw_lesion, inward_mm

MOST = 4
"""Tumours planted into one slice; one is the most likely number."""
TRIES = 8
"""Places that are tried for a tumour."""
APART_MM = 3.0
"""Least distance from a tumour that is there."""
DARK_HU, DARK_OVER = 12.0, 2.0
"""By how much, averaged over how many pixels about, a liver must be darker than in the middle to
be taken for a tumour that nobody has drawn."""
DARKEST = 0.75
"""Most of the liver's own HU that a tumour lacks."""
EDGE_MM = 1.6
"""Deviation of the blur at the edge: the outermost pixels are a third of the way to the liver, as
in real ones."""
SKIN = 8
"""Pixels under the liver's surface that are pushed less and less, so that it stays."""

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Spot:
    """A tumour in its place."""

    lesion: Lesion
    depth_mm: Plane
    """How deep each pixel of the window lies in it; outside of it, below 0."""
    pixel_mm: float


def plant_some(
    hu: Tensor, target: Tensor, pixel_mm: Tensor, probability: float, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return slices and targets, some of them, each with `probability`, with planted tumours.

    Args:
        hu: (n, rows, columns) float32.
        target: the same shape, uint8.
        pixel_mm: (n,), all of them known.
        probability: 0 to 1, for each slice.
        random: the source of all chance.
    """
    hu, target = hu.clone(), target.clone()
    chosen = torch.rand(len(hu), generator=random) < probability
    for index in torch.nonzero(chosen)[:, 0].tolist():
        seed = int(torch.randint(2**31, (1,), generator=random))
        planted = plant_tumours(
            hu[index].numpy(),
            target[index].numpy(),
            float(pixel_mm[index]),
            np.random.default_rng(seed),
        )
        hu[index], target[index] = map(torch.from_numpy, planted)
    return hu, target


def plant_tumours(
    hu: Plane, target: Labels, pixel_mm: float, random: np.random.Generator
) -> tuple[Plane, Labels]:
    """Return a slice with one tumour or a few more in its liver, and its target with them.

    Where the liver has no room, less comes, or the slice as it was. What is a tumour already stays
    untouched, and nothing is put outside of the liver.

    Args:
        hu: (rows, columns).
        target: likewise, values of `Target`; where tumours were not drawn, a planted one is known.
        pixel_mm: between pixels.
        random: the source of all chance.
    """
    for _ in range(min(int(random.geometric(0.6)), MOST)):
        hu, target = _plant(hu, target, pixel_mm, draw_lesion(random), random)
    return hu, target


def _plant(
    hu: Plane, target: Labels, pixel_mm: float, lesion: Lesion, random: np.random.Generator
) -> tuple[Plane, Labels]:
    liver = (target == Target.LIVER) | (target == Target.LIVER_OR_TUMOUR)
    if not liver.any():
        return hu, target
    level = float(np.median(hu[liver]))
    free = liver & _far_from(_taken(hu, target, level), APART_MM / pixel_mm)
    places = np.argwhere(free)
    if not len(places):
        return hu, target
    for row, column in places[random.integers(0, len(places), TRIES)].tolist():
        window = _window(hu.shape, (row, column), lesion, pixel_mm)
        depth_mm = inward_mm(lesion, (row, column), window, pixel_mm, random)
        if _fits(depth_mm, liver[window], free[window]):
            spot = _Spot(lesion, depth_mm, pixel_mm)
            changed, labels = hu.copy(), target.copy()
            changed[window] = _drawn(spot, hu[window], liver[window], level, random)
            labels[window][(depth_mm > 0) & liver[window]] = Target.TUMOUR
            return changed, labels
    return hu, target


def _taken(hu: Plane, target: Labels, level: float) -> Mask:
    """Return what is a tumour, and where tumours were not drawn, what looks like one."""
    dark = ndimage.gaussian_filter(hu, DARK_OVER) < level - DARK_HU
    undrawn = target == Target.LIVER_OR_TUMOUR
    return np.asarray((target == Target.TUMOUR) | (undrawn & dark))


def _far_from(mask: Mask, pixels: float) -> Mask:
    if not mask.any():
        return np.ones_like(mask)
    return np.asarray(ndimage.distance_transform_edt(~mask) > pixels)


def _window(
    shape: tuple[int, ...], centre: tuple[int, int], lesion: Lesion, pixel_mm: float
) -> Window:
    """Return the part of the slice that a tumour can change."""
    reach = int(np.ceil(1.5 * lesion.diameter_mm / pixel_mm)) + 4
    rows, columns = (
        slice(max(0, middle - reach), min(size, middle + reach + 1))
        for middle, size in zip(centre, shape, strict=True)
    )
    return rows, columns


def _fits(depth_mm: Plane, liver: Mask, free: Mask) -> bool:
    """Tell whether a tumour touches no other, and lies in the liver with half of it or more."""
    whole = depth_mm > 0
    inside = whole & liver
    return bool(np.all(free[inside]) and 2 * np.count_nonzero(inside) >= np.count_nonzero(whole))


def _drawn(spot: _Spot, hu: Plane, liver: Mask, level: float, random: np.random.Generator) -> Plane:
    """Return the window with the tumour in it; `level` is what the liver has in the middle."""
    lesion, pixel_mm = spot.lesion, spot.pixel_mm
    around = _pushed(spot, hu, liver)
    grain = hu - ndimage.gaussian_filter(hu, 1.5)
    fine = cloud(hu.shape, max(1.0, 2.0 / pixel_mm), random)
    coarse = cloud(hu.shape, max(2.0, lesion.diameter_mm / 6 / pixel_mm), random)
    darker = min(lesion.contrast_hu, DARKEST * max(level, 0.0))
    tumour = level - darker + grain + (fine + coarse) * lesion.texture_hu
    share = ndimage.gaussian_filter((spot.depth_mm > 0).astype(np.float32), EDGE_MM / pixel_mm)
    rim = np.exp(-np.square(spot.depth_mm / EDGE_MM + 1)) * lesion.capsule_hu
    mixed = around + (tumour - around) * share + rim
    within = np.minimum(1, 2 * ndimage.gaussian_filter(liver.astype(np.float32), 0.7))
    return np.asarray(np.where(liver, hu + (mixed - hu) * within, hu), np.float32)


def _pushed(spot: _Spot, hu: Plane, liver: Mask) -> Plane:
    """Return the window with what lies around the tumour pushed away from it, in the liver."""
    radius = spot.lesion.radius_mm
    under = ndimage.distance_transform_edt(np.pad(liver, 1))[1:-1, 1:-1]
    fading = np.exp(np.minimum(spot.depth_mm, 0) / (0.7 * radius)) * np.minimum(1, under / SKIN)
    strength = spot.lesion.push * radius / spot.pixel_mm * fading
    slope = np.gradient(ndimage.gaussian_filter(spot.depth_mm, 2.0))
    steepness = np.maximum(np.hypot(*slope), 1e-3)
    place = [
        index + along / steepness * strength
        for index, along in zip(np.indices(hu.shape), slope, strict=True)
    ]
    return np.asarray(ndimage.map_coordinates(hu, place, order=1, mode="nearest"), np.float32)
