"""Size, shape, contrast and texture of a synthetic tumour, before it is placed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

DIAMETER_MM, SPREAD = 16.0, 0.72
"""Median of the diameter of a disc of the same area, and the deviation of its logarithm: a little
more than those of the real ones (14.1, 0.68), for large ones find no room as often."""
SMALLEST_MM, LARGEST_MM = 4.0, 70.0
CONTRAST_HU = (9.0, 14.0, 22.0, 33.0, 50.0, 70.0, 80.0)
"""HU below the liver, before the edge is blurred (which leaves 7, 11, 18, 28, 44, 63
and 70, as in real ones), at these parts of all:"""
CONTRAST_AT = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
ASPECT = 0.1
"""Deviation of the logarithm of one axis over the root of both: with the bending, half are longer
than 1.35 : 1."""
TALL = 0.1
"""Deviation of the logarithm of the axis across the slices over that within them: as `ASPECT`."""
HIGHEST = 0.8
"""Distance from its middle at which the slice that is learnt from cuts a tumour, over its reach:
further out, a small section would stand for a huge tumour."""
CAPSULES = 0.2
"""Part of the tumours that have a bright rim."""

Plane = NDArray[np.float32]
Window = tuple[slice, slice]


@dataclass(frozen=True)
class Lesion:
    """One tumour before it has a place."""

    diameter_mm: float
    aspect: float
    """One axis over the root of the product of both."""
    angle: float
    contrast_hu: float
    """HU below the liver."""
    texture_hu: float
    """Deviation of its own texture, beside the noise of the scan."""
    bend: float
    """Deviation of the outline, in parts of the radius."""
    push: float
    """Displacement of the surrounding liver, as a fraction of the radius."""
    capsule_hu: float
    """HU by which its rim is brighter."""

    @property
    def radius_mm(self) -> float:
        """Half of the diameter."""
        return self.diameter_mm / 2


@dataclass(frozen=True)
class Body:
    """The ellipsoid that a tumour is, of which the slice that is learnt from shows a section."""

    height: float
    """Of that slice over the ellipsoid's middle, in parts of its reach to that side."""
    tall: float
    """Its axis across the slices over that within them."""

    def section_mm(self, radius_mm: float, away_mm: float) -> float:
        """Return the radius of another section, 0 where there is none.

        Args:
            radius_mm: of the section in the slice that is learnt from.
            away_mm: how far the other one lies above it.
        """
        # Of a ball cut at `height` of its radius R: r = R sqrt(1 - height^2).
        largest_mm = radius_mm / np.sqrt(1 - self.height**2)
        over_mm = self.height * largest_mm + away_mm / self.tall
        return float(np.sqrt(max(largest_mm**2 - over_mm**2, 0.0)))


def draw_body(random: np.random.Generator) -> Body:
    """Return an ellipsoid, cut anywhere but near its ends."""
    return Body(
        height=float(random.uniform(-HIGHEST, HIGHEST)), tall=float(np.exp(random.normal(0, TALL)))
    )


def draw_lesion(random: np.random.Generator) -> Lesion:
    """Return a tumour as real ones are."""
    diameter_mm = DIAMETER_MM * np.exp(random.normal(0, SPREAD))
    return Lesion(
        diameter_mm=float(np.clip(diameter_mm, SMALLEST_MM, LARGEST_MM)),
        aspect=float(np.exp(random.normal(0, ASPECT))),
        angle=float(random.uniform(0, np.pi)),
        contrast_hu=float(np.interp(random.random(), CONTRAST_AT, CONTRAST_HU)),
        texture_hu=float(random.uniform(3, 14)),
        bend=float(random.uniform(0.05, 0.25)),
        push=float(random.uniform(0, 0.3)),
        capsule_hu=float(random.uniform(5, 20)) if random.random() < CAPSULES else 0.0,
    )


def inward_mm(
    lesion: Lesion,
    centre: tuple[int, int],
    window: Window,
    pixel_mm: float,
    random: np.random.Generator,
) -> Plane:
    """Return how deep each pixel of `window` lies in the tumour; outside of it, below 0."""
    smooth = max(1.0, 0.6 * lesion.radius_mm / pixel_mm)
    rows, columns = (
        (np.arange(part.start, part.stop) - middle) * pixel_mm
        for part, middle in zip(window, centre, strict=True)
    )
    y, x = (
        axis + cloud((len(rows), len(columns)), smooth, random) * lesion.bend * lesion.radius_mm
        for axis in np.meshgrid(rows, columns, indexing="ij")
    )
    cos, sin = np.cos(lesion.angle), np.sin(lesion.angle)
    along, across = cos * x + sin * y, cos * y - sin * x
    distance = np.hypot(along / lesion.aspect, across * lesion.aspect)
    return np.asarray(lesion.radius_mm - distance, np.float32)


def cloud(shape: tuple[int, ...], smooth: float, random: np.random.Generator) -> Plane:
    """Return smooth noise of mean 0 and deviation 1; `smooth` in pixels."""
    # wrap: with the usual reflection the deviation would be larger at the borders.
    noise = ndimage.gaussian_filter(random.standard_normal(shape), smooth, mode="wrap")
    return np.asarray((noise - noise.mean()) / max(float(noise.std()), 1e-6), np.float32)
