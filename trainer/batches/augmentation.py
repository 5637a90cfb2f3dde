"""Slices as other scanners, patients and radiographers might have made them."""

import math

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from trainer.batches.chance import Chance
from trainer.batches.contrast_phase import change_phase
from trainer.datasets.cases.interpolation import smoothed, step_mm
from trainer.datasets.cases.target import INSIDE, Target
from trainer.ensemble.liver_box import Box, box_around
from trainer.recipe.recipe import Augmentation
from trainer.synthetic.batch import plant_some
from trainer.synthetic.slab import Beside

ELASTIC_KNOTS = 7
"""Control points of the elastic deformation along each axis."""

GRID_LINES = 6
"""Lines of the distorted grid along each axis."""


def augment(
    hu: Tensor,
    target: Tensor,
    pixel_mm: Tensor,
    recipe: Augmentation,
    *,
    size: int,
    grid_size: int,
    spacing_mm: float,
    margin_mm: float | None = None,
    reach: int = 0,
    floor_hu: float = 0.0,
    ceiling_hu: float = math.inf,
    random: torch.Generator,
    beside: Beside | None = None,
) -> tuple[Tensor, Tensor]:
    """Resample slices to the working grid, turned, scaled, shifted and bent at random.

    A slice that is changed in nothing is what the model's graph makes of it. Some get synthetic
    tumours first, if the recipe asks for it.

    Args:
        hu: (n, rows, columns) float32, clipped; or (n, s, rows, columns), each slice with its
            neighbours, which are changed as it is.
        target: (n, rows, columns) uint8, values of `Target`.
        pixel_mm: (n,), nan where unknown.
        recipe: how far to go.
        size: rows and columns of what comes back, the middle of the working grid.
        grid_size: rows and columns of the whole working grid.
        spacing_mm: its pixels' distance, as far as the slices fit in it.
        margin_mm: of a grid around the liver of each slice; None: it lies around the slice.
        reach: `hat_reach` of the coarsest slice; 0 where none is finer than the working grid.
        floor_hu: what the HU were clipped to below, as it is outside of the slice.
        ceiling_hu: what they were clipped to above.
        random: the source of all chance.
        beside: what is known of the neighbours, where tumours are planted into them.

    Returns:
        Float32 HU and uint8 targets, both of `size` x `size`.
    """
    known_mm = torch.where(pixel_mm.isnan(), recipe.unknown_pixel_mm, pixel_mm)
    if recipe.synthetic_tumour:
        hu, target = plant_some(hu, target, known_mm, recipe.synthetic_tumour, random, beside)
    free, chance = _free(target, recipe), Chance(len(hu), random, hu.device)
    place = _place(target, known_mm, grid_size, spacing_mm, margin_mm)
    apart_mm = place.step_mm
    grid = _grid(hu.shape[-1], pixel_mm, recipe, size, place, free, chance)
    # grid_sample pads with zeros: with the floor at 0, what lies outside is air.
    above = (hu if hu.dim() == 4 else hu[:, None]) - floor_hu
    above = smoothed(above, apart_mm / known_mm, reach)
    image = grid_sample(above, grid, padding_mode="zeros", align_corners=False) + floor_hu
    classes = target[:, None].float() + 1  # 0 then means outside of the slice
    # Nearest: a mean of labels would be another label.
    nearest = grid_sample(classes, grid, mode="nearest", align_corners=False)[:, 0]
    labels = (nearest - 1).clamp(min=Target.BACKGROUND).to(torch.uint8)
    if recipe.phase:
        scanned = change_phase(image, labels, recipe.phase, (floor_hu, ceiling_hu), random)
    else:
        scanned = _rescan(image, recipe, floor_hu, free, chance)
    return scanned if hu.dim() == 4 else scanned[:, 0], labels


def _place(
    target: Tensor, known_mm: Tensor, size: int, spacing_mm: float, margin_mm: float | None
) -> Box:
    """Return where the working grid lies on each slice."""
    if margin_mm is not None:
        inside = torch.isin(target, torch.tensor(INSIDE, device=target.device))
        return box_around(inside, known_mm, size, spacing_mm, margin_mm)
    apart_mm = step_mm(known_mm * target.shape[-1], size, spacing_mm)
    return Box(apart_mm, torch.zeros(len(target), 2, device=target.device))


def _free(target: Tensor, recipe: Augmentation) -> Tensor:
    """Return (n,) 1 where a slice may be changed, 0 where it stays as it was scanned."""
    if not recipe.tumour_only:
        return torch.ones(len(target), device=target.device)
    return (target == Target.TUMOUR).any(dim=2).any(dim=1).float()


def _grid(
    source: int,
    pixel_mm: Tensor,
    recipe: Augmentation,
    size: int,
    around: Box,
    free: Tensor,
    chance: Chance,
) -> Tensor:
    """Return where each pixel comes from: (n, size, size, 2) in grid_sample's (x, y)."""
    known = ~pixel_mm.isnan()
    pixel = torch.where(known, pixel_mm, recipe.unknown_pixel_mm)
    bound = torch.where(known, recipe.scale, recipe.scale_unknown)
    zoom = torch.exp(chance.signed() * bound * free)
    angle = chance.signed() * math.radians(recipe.rotation_deg) * free
    if recipe.rotation_step_deg:
        step = math.radians(recipe.rotation_step_deg)
        angle = (angle / step).round() * step
    axis = torch.arange(size, device=pixel_mm.device) - (size - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    place = torch.stack([x, y], dim=-1)[None] * (around.step_mm / zoom)[:, None, None, None]
    turn = torch.stack(
        [
            torch.stack([angle.cos(), -angle.sin()], -1),
            torch.stack([angle.sin(), angle.cos()], -1),
        ],
        dim=1,
    )
    place = torch.einsum("nhwi,nij->nhwj", place, turn)
    each = free[:, None, None, None]
    if recipe.reflections:
        flip = (chance.uniform(1, 1, 2) < 0.5).float() * each
        place = place * (1 - 2 * flip)
    place = place + chance.signed(1, 1, 2) * recipe.shift_mm * each
    # grid_sample has columns before rows.
    place = place + around.middle_mm.flip(-1)[:, None, None]
    knots = chance.normal(2, ELASTIC_KNOTS, ELASTIC_KNOTS)
    strength = chance.uniform(1, 1, 1) * recipe.elastic_mm * each
    bend = interpolate(knots * strength, size=(size, size), mode="bicubic", align_corners=True)
    place = place + bend.permute(0, 2, 3, 1)
    if recipe.grid_mm:
        place = place + _grid_lines(size, chance) * recipe.grid_mm * each
    # grid_sample's -1 and 1 are the outer edges of the slice (align_corners=False).
    return place / (pixel[:, None, None, None] * source / 2)


def _grid_lines(size: int, chance: Chance) -> Tensor:
    """Return how far (n, size, size, 2) a grid with moved lines is off, within -1 and 1."""
    moves = chance.signed(2, GRID_LINES)
    lines = interpolate(moves, size=size, mode="linear", align_corners=True)
    rows = lines[:, 1, :, None].expand(-1, size, size)
    columns = lines[:, 0, None, :].expand(-1, size, size)
    return torch.stack([columns, rows], dim=-1)


def _rescan(
    hu: Tensor, recipe: Augmentation, floor_hu: float, free: Tensor, chance: Chance
) -> Tensor:
    """Change contrast, level, sharpness and noise, slice by slice.

    What was clipped below, air and fat, stays there: its own noise lies far below.
    """
    each = 1, 1, 1
    free = free[:, None, None, None]
    if recipe.soften:
        soft = torch.nn.functional.avg_pool2d(hu, 3, 1, 1, count_include_pad=False)
        hu = hu + (soft - hu) * chance.signed(*each).clamp(min=0) * free
    gain = torch.exp(chance.signed(*each) * recipe.gain * free)
    changed = (hu - 80) * gain + 80 + chance.signed(*each) * recipe.shift_hu * free
    # Squared: most slices get little noise, a few get much.
    level = chance.uniform(*each).square() * recipe.noise_hu * free
    changed = changed + chance.normal(*hu.shape[1:]) * level
    # 2 HU above, as interpolation leaves clipped pixels a little over the floor.
    return torch.where(hu > floor_hu + 2, changed, hu)
