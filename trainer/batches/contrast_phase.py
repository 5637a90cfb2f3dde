"""Contrast augmentation by class: other phases of contrast, steatosis, kernels and doses.

A venous scan becomes something like an arterial one, a late one, one without contrast, or one of a
fatty liver: surroundings, vessels, tumours and the liver itself are shifted apart. Labels stay.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from trainer.batches.chance import Chance
from trainer.datasets.cases.target import Target
from trainer.recipe.sections import Interval, Phase

MARGIN_HU = 3.0
"""Voxels this near to the bounds were clipped: air, fat and bone, whose own level is lost."""
LEAST_LIVER = 150
"""Pixels of liver from which its median is trusted, about 5 cm2 at 1.75 mm."""
USUAL_LIVER_HU = 100.0
"""Level assumed on slices without liver."""
UNSEEN_SHIFT_HU = 25.0
"""Standard deviation of the shift of slices without liver, whose level nobody can aim at."""
ORGANS = 6
"""Knots of the surroundings' field along each axis: 5 to 7 cm apart, as organs are."""
VESSEL_ABOVE_HU = 8.0
"""Contrast against the liver's median from which a smoothed pixel counts as vessel."""
GAIN_ABOUT_HU = 100.0
"""Level that a change of gain leaves as it is."""
COARSE = 2.2
"""Factor that gives averaged noise back most of the strength that averaging took."""
EDGE, WALL, DEPTH = 3, 5, 9
"""Sides, in pixels, of the averages that soften an edge, find a rim, and find a core."""


def change_phase(
    hu: Tensor, target: Tensor, phase: Phase, bounds_hu: Interval, random: torch.Generator
) -> Tensor:
    """Return slices as another phase of contrast, another liver and another scanner show them.

    Args:
        hu: (n, 1, rows, columns) float32, clipped to `bounds_hu`.
        target: (n, rows, columns) uint8, values of `Target`.
        phase: limits of the changes.
        bounds_hu: voxels at either bound stay as they are.
        random: the source of all chance.
    """
    low, high = bounds_hu
    anatomy, chance = _Anatomy.of(hu, target), Chance(len(hu), random, hu.device)
    out = _surround(hu, anatomy, phase, chance)
    out = out + _vessels(hu, anatomy, phase, chance)
    out = _enhance_tumours(out, hu, anatomy, phase, chance)
    out = out + _level(anatomy, phase, chance)
    out = _scan(out, phase, chance)
    # By the HU before all changes: afterwards air might look like tissue.
    soft_tissue = (hu > low + MARGIN_HU) & (hu < high - MARGIN_HU)
    return torch.where(soft_tissue, out, hu).clamp(low, high)


@dataclass(frozen=True)
class _Anatomy:
    """Where liver and tumours lie, and their levels."""

    liver: Tensor
    """(n, 1, rows, columns) 0 or 1: the liver without drawn tumours."""
    tumour: Tensor
    liver_hu: Tensor
    """(n, 1, 1, 1) median of the liver."""
    seen: Tensor
    """(n, 1, 1, 1) 1 where there is enough liver for that, else 0."""

    @staticmethod
    def of(hu: Tensor, target: Tensor) -> "_Anatomy":
        liver = ((target == Target.LIVER) | (target == Target.LIVER_OR_TUMOUR))[:, None]
        seen = liver.sum((1, 2, 3), keepdim=True) > LEAST_LIVER
        inside = hu.where(liver, torch.nan).flatten(1)
        # All at once: a loop over the slices would wait for the device at each of them.
        median = inside.nanmedian(dim=1).values.reshape(seen.shape)
        level = median.where(seen, USUAL_LIVER_HU)
        tumour = (target == Target.TUMOUR)[:, None]
        return _Anatomy(liver.float(), tumour.float(), level, seen.float())


def _surround(hu: Tensor, anatomy: _Anatomy, phase: Phase, chance: Chance) -> Tensor:
    """Shift what surrounds the liver by a smooth field, organ by organ."""
    inside = _blur(anatomy.liver + anatomy.tumour, EDGE)
    knots = chance.uniform(1, ORGANS, ORGANS)
    field = interpolate(knots, size=hu.shape[-2:], mode="bicubic", align_corners=True)
    # Both are drawn for every slice, so that a change of one part leaves all other chance alone.
    strength = chance.within(phase.surroundings_hu) * chance.happens(phase.surroundings)
    return hu + strength * field.clamp(0, 1.2) * (1 - inside)  # bicubic overshoots


def _vessels(hu: Tensor, anatomy: _Anatomy, phase: Phase, chance: Chance) -> Tensor:
    """Return what amplifies the vessels in the liver, or turns them darker than it."""
    above = (_blur(hu, EDGE) - anatomy.liver_hu - VESSEL_ABOVE_HU).clamp(min=0)
    strength = above * chance.within(phase.vessel_gain) * chance.happens(phase.vessels)
    return strength * _blur(anatomy.liver, EDGE) * anatomy.seen


def _enhance_tumours(
    out: Tensor, hu: Tensor, anatomy: _Anatomy, phase: Phase, chance: Chance
) -> Tensor:
    """Give tumours a new level beside the liver, some of them a rim and a necrotic core."""
    tumour, edge = anatomy.tumour, _blur(anatomy.tumour, EDGE)
    # Half of the change just outside: the partial volume at an edge.
    soft = edge * tumour + edge * (1 - tumour) * 0.5
    area = tumour.sum((1, 2, 3), keepdim=True).clamp(min=1)
    level = (hu * tumour).sum((1, 2, 3), keepdim=True) / area
    brighter = chance.happens(phase.tumours_brighter)
    contrast = brighter * chance.within(phase.brighter_hu)
    darkest, least = phase.darker_hu[1], phase.darker_hu[0]
    contrast = contrast + (1 - brighter) * chance.within((-darkest, -least))
    wanted = chance.happens(phase.tumours) * anatomy.seen
    out = out + (anatomy.liver_hu + contrast - level) * soft * wanted
    # A mean below 0.9: liver within two pixels. Above 0.97: none within four.
    rim = tumour * (_blur(tumour, WALL) < 0.9).float()
    out = out + rim * chance.within(phase.rim_hu) * wanted * chance.happens(phase.rims)
    core = tumour * (_blur(tumour, DEPTH) > 0.97).float()
    return out - core * chance.within(phase.core_hu) * wanted * chance.happens(phase.cores)


def _level(anatomy: _Anatomy, phase: Phase, chance: Chance) -> Tensor:
    """Return the shift that brings livers to another level, and moves every slice a little."""
    aimed = chance.within(phase.liver_hu) - anatomy.liver_hu
    near = torch.where(anatomy.seen > 0, aimed, UNSEEN_SHIFT_HU * chance.normal(1, 1, 1))
    return chance.happens(phase.levels) * near + phase.drift_hu * chance.normal(1, 1, 1)


def _scan(hu: Tensor, phase: Phase, chance: Chance) -> Tensor:
    """Change gain, sharpness and noise, as another kernel and dose would."""
    gain = torch.exp(chance.within((-1, 1)) * phase.gain)
    out = (hu - GAIN_ABOUT_HU) * gain + GAIN_ABOUT_HU
    out = out + (_blur(out, EDGE) - out) * chance.within(phase.smoothing)
    noise = chance.uniform(1, 1, 1).square() * phase.noise_hu
    white = chance.normal(*out.shape[1:])
    coarse = _blur(white, EDGE) * COARSE
    chosen = chance.happens(phase.coarse_noise)
    return out + (white * (1 - chosen) + coarse * chosen) * noise


def _blur(image: Tensor, side: int) -> Tensor:
    # The border is averaged over what is there; zeros would darken it.
    return avg_pool2d(image, side, 1, side // 2, count_include_pad=False)
