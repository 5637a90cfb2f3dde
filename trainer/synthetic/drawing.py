"""The picture of a planted tumour: its texture, its edge, and the liver that it pushes aside."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trainer.synthetic.lesion import Lesion, Plane, cloud

DARKEST = 0.75
"""Most of the liver's own HU that a tumour lacks."""
EDGE_MM = 1.6
"""Deviation of the blur at the edge: the outermost pixels are a third of the way to the liver, as
in real ones."""
SKIN = 8
"""Pixels under the liver's surface that are pushed less and less, so that it stays."""
FINE_MM = 2.0
"""Correlation length of a tumour's fine texture; of the coarse one, a sixth of its diameter."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Spot:
    """A tumour's section in its place."""

    lesion: Lesion
    """With the diameter that it has in this slice."""
    depth_mm: Plane
    """Depth of each pixel of the window inside the tumour; negative outside."""
    pixel_mm: float


@dataclass(frozen=True, eq=False)
class Texture:
    """A tumour's own texture, fine and coarse, each of deviation 1."""

    fine: Plane
    coarse: Plane
    coarse_mm: float
    """Correlation length of the coarse texture."""

    def beside(self, other: "Texture", away_mm: float) -> "Texture":
        """Return the texture of a slice `away_mm` from this one's: `other`, as far as it is."""
        fine = _between(self.fine, other.fine, away_mm / FINE_MM)
        return Texture(
            fine, _between(self.coarse, other.coarse, away_mm / self.coarse_mm), self.coarse_mm
        )


def draw_texture(
    lesion: Lesion, shape: tuple[int, ...], pixel_mm: float, random: np.random.Generator
) -> Texture:
    """Return a texture of (rows, columns)."""
    coarse_mm = lesion.diameter_mm / 6
    fine = cloud(shape, max(1.0, FINE_MM / pixel_mm), random)
    return Texture(fine, cloud(shape, max(2.0, coarse_mm / pixel_mm), random), coarse_mm)


def drawn(spot: Spot, hu: Plane, liver: Mask, level: float, texture: Texture) -> Plane:
    """Return the window `hu` with the tumour in it.

    Args:
        spot: the tumour.
        hu: (rows, columns).
        liver: likewise; nothing outside of it is changed.
        level: HU that the liver has in the middle.
        texture: of the tumour.
    """
    lesion, pixel_mm = spot.lesion, spot.pixel_mm
    around = _pushed(spot, hu, liver)
    # The scan's own noise, without its vessels: what a blur of 1.5 pixels takes away.
    grain = hu - ndimage.gaussian_filter(hu, 1.5)
    darker = min(lesion.contrast_hu, DARKEST * max(level, 0.0))
    tumour = level - darker + grain + (texture.fine + texture.coarse) * lesion.texture_hu
    share = ndimage.gaussian_filter((spot.depth_mm > 0).astype(np.float32), EDGE_MM / pixel_mm)
    rim = np.exp(-np.square(spot.depth_mm / EDGE_MM + 1)) * lesion.capsule_hu
    mixed = around + (tumour - around) * share + rim
    # At the capsule the blur is one half, so twice of it is 1 inside and falls off in a pixel.
    within = np.minimum(1, 2 * ndimage.gaussian_filter(liver.astype(np.float32), 0.7))
    return np.asarray(np.where(liver, hu + (mixed - hu) * within, hu), np.float32)


def _pushed(spot: Spot, hu: Plane, liver: Mask) -> Plane:
    """Return the window with what lies around the tumour pushed away from it, in the liver."""
    radius = spot.lesion.radius_mm
    under = ndimage.distance_transform_edt(np.pad(liver, 1))[1:-1, 1:-1]
    fading = np.exp(np.minimum(spot.depth_mm, 0) / (0.7 * radius)) * np.minimum(1, under / SKIN)
    strength = spot.lesion.push * radius / spot.pixel_mm * fading
    slope = np.gradient(ndimage.gaussian_filter(spot.depth_mm, 2.0))
    # In the middle of the tumour the slope is 0 and has no direction.
    steepness = np.maximum(np.hypot(*slope), 1e-3)
    place = [
        index + along / steepness * strength
        for index, along in zip(np.indices(hu.shape), slope, strict=True)
    ]
    return np.asarray(ndimage.map_coordinates(hu, place, order=1, mode="nearest"), np.float32)


def _between(one: Plane, other: Plane, reaches: float) -> Plane:
    """Return noise that is `one` near it and more and more `other`, its deviation kept."""
    alike = np.float32(np.exp(-(reaches**2) / 2))
    # Squares of the weights sum to 1, which keeps the deviation of independent noise.
    return np.asarray(alike * one + np.sqrt(1 - alike**2) * other, np.float32)
