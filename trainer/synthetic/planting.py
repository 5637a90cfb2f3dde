"""A place in the liver for a tumour, and the slices with the tumour in them."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trainer.datasets.cases.target import Target
from trainer.synthetic.drawing import Spot, draw_texture, drawn
from trainer.synthetic.lesion import (
    Body,
    Lesion,
    Plane,
    Window,
    draw_body,
    draw_lesion,
    inward_mm,
)
from trainer.synthetic.slab import Labels, Masks, Slab, alone

MOST = 4
"""Tumours planted into one slice; one is the most likely number."""
TRIES = 8
"""Places that are tried for a tumour."""
APART_MM = 3.0
"""Least distance from a tumour that is there."""
DARK_HU, DARK_OVER = 12.0, 2.0
"""By how much, averaged over how many pixels about, a liver must be darker than in the middle to
be taken for a tumour that was not drawn."""

Mask = NDArray[np.bool_]


def plant_tumours(
    hu: Plane, target: Labels, pixel_mm: float, random: np.random.Generator
) -> tuple[Plane, Labels]:
    """Return a slice that stands alone, and its target, as `plant` does.

    Args:
        hu: (rows, columns).
        target: likewise, values of `Target`.
        pixel_mm: between pixels.
        random: the source of all chance.
    """
    planted = plant(alone(hu, target, pixel_mm), random)
    return planted.hu[0], planted.target[0]


def plant(slab: Slab, random: np.random.Generator) -> Slab:
    """Return slices with one tumour or a few more in their liver, and their targets with them.

    Where the liver has no room, less comes, or the slices as they were. What is a tumour already,
    in any of the slices, stays untouched, nothing is put outside of the liver, and nothing where a
    neighbour was not looked at. Where tumours were not drawn, a planted one is known. The slice
    that is learnt from is planted as it would be if it stood alone, as long as there is room.

    Args:
        slab: a slice, perhaps with neighbours.
        random: the source of all chance.
    """
    # One tumour in 60 % of the slices, two in 24 %.
    for _ in range(min(int(random.geometric(0.6)), MOST)):
        slab = with_one(slab, draw_lesion(random), random)
    return slab


def with_one(slab: Slab, lesion: Lesion, random: np.random.Generator) -> Slab:
    """Return the slices with one tumour more, if one of the places tried fits."""
    own, liver = slab.own, slab.liver
    if not liver[own].any():
        return slab
    # The median: vessels and what was not drawn are the smaller part.
    level = float(np.median(slab.hu[own][liver[own]]))
    free = liver & _far_from_tumours(slab, level)
    places = np.argwhere(free[own])
    if not len(places):
        return slab
    aside = random.spawn(1)[0]  # what neighbours need takes nothing from the slice's own chance
    body = draw_body(aside)
    for row, column in places[random.integers(0, len(places), TRIES)].tolist():
        window = _window(slab.hu.shape[1:], (row, column), lesion, slab.pixel_mm)
        depth_mm = inward_mm(lesion, (row, column), window, slab.pixel_mm, random)
        spots = dict(_sections(slab, lesion, body, depth_mm))
        if _fits(slab, spots, free, window):
            return _planted(slab, spots, window, level, (random, aside))
    return slab


def _far_from_tumours(slab: Slab, level: float) -> Masks:
    """Mark what is far from every tumour, within a slice and across slices."""
    taken = [_taken(hu, target, level) for hu, target in zip(slab.hu, slab.target, strict=True)]
    pixels = APART_MM / slab.pixel_mm
    far = []
    for away_mm in slab.away_mm:
        near = np.abs(slab.away_mm - away_mm) <= APART_MM
        far.append(_far_from(np.any([taken[index] for index in np.flatnonzero(near)], 0), pixels))
    return np.array(far)


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
    # Three radii: bent outlines and the push reach beyond the radius itself; 4 for the blurs.
    reach = int(np.ceil(1.5 * lesion.diameter_mm / pixel_mm)) + 4
    rows, columns = (
        slice(max(0, middle - reach), min(size, middle + reach + 1))
        for middle, size in zip(centre, shape, strict=True)
    )
    return rows, columns


def _sections(
    slab: Slab, lesion: Lesion, body: Body, depth_mm: Plane
) -> Iterator[tuple[int, Spot]]:
    """Yield a tumour's section in each slice that it reaches, the slice's own one among them."""
    for index, away_mm in enumerate(slab.away_mm.tolist()):
        if index == slab.own:
            yield index, Spot(lesion, depth_mm, slab.pixel_mm)
            continue
        radius_mm = body.section_mm(lesion.radius_mm, away_mm)
        there = depth_mm - np.float32(lesion.radius_mm - radius_mm)
        if radius_mm and (there > 0).any():
            yield index, Spot(replace(lesion, diameter_mm=2 * radius_mm), there, slab.pixel_mm)


def _fits(slab: Slab, spots: dict[int, Spot], free: Masks, window: Window) -> bool:
    """Return whether a tumour touches no other in any slice, avoids neighbours that were not looked
    at, and lies in the liver of its own slice with half of it or more."""
    for index, spot in spots.items():
        whole, target = spot.depth_mm > 0, slab.target[index][window]
        inside = whole & slab.liver[index][window]
        if not np.all(free[index][window][inside]):
            return False
        if index != slab.own and np.isin(target[whole], (Target.TUMOUR, Target.UNKNOWN)).any():
            return False
    whole = spots[slab.own].depth_mm > 0
    inside = whole & slab.liver[slab.own][window]
    return bool(2 * np.count_nonzero(inside) >= np.count_nonzero(whole))


def _planted(
    slab: Slab,
    spots: dict[int, Spot],
    window: Window,
    level: float,
    chances: tuple[np.random.Generator, np.random.Generator],
) -> Slab:
    """Return the slices with the tumour; of the chances one is the slice's own."""
    hu, target = slab.hu.copy(), slab.target.copy()
    shown, mm = spots[slab.own], slab.pixel_mm
    texture = draw_texture(shown.lesion, shown.depth_mm.shape, mm, chances[0])
    for index, spot in spots.items():
        liver, its = slab.liver[index][window], texture
        if index != slab.own:
            other = draw_texture(shown.lesion, spot.depth_mm.shape, mm, chances[1])
            its = texture.beside(other, float(slab.away_mm[index]))
        hu[index][window] = drawn(spot, slab.hu[index][window], liver, level, its)
        target[index][window][(spot.depth_mm > 0) & liver] = Target.TUMOUR
    return replace(slab, hu=hu, target=target)
