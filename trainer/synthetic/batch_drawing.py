"""Pictures of many planted tumours at once, on the device that the slices lie on; see `drawing`."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from trainer.synthetic.drawing import DARKEST, EDGE_MM, FINE_MM, SKIN
from trainer.synthetic.planes import blurred, clouds, distances


@dataclass(frozen=True, eq=False)
class Shape:
    """Fields of `Lesion` and `Body` of n tumours, each (n, 1, 1)."""

    diameter_mm: Tensor
    aspect: Tensor
    angle: Tensor
    contrast_hu: Tensor
    texture_hu: Tensor
    bend: Tensor
    push: Tensor
    capsule_hu: Tensor
    height: Tensor
    tall: Tensor

    @staticmethod
    def of(values: Tensor) -> "Shape":
        """Return the shapes whose fields are the columns of (n, 10)."""
        return Shape(*values[:, :, None, None].unbind(dim=1))

    @property
    def radius_mm(self) -> Tensor:
        """Half of the diameter."""
        return self.diameter_mm / 2

    def sections_mm(self, away_mm: Tensor) -> Tensor:
        """Return the radius of each slice's section (n, s), as `Body.section_mm`."""
        radius, height, tall = (each[:, :, 0] for each in (self.radius_mm, self.height, self.tall))
        largest = radius / (1 - height.square()).sqrt()
        over = height * largest + away_mm / tall
        section = (largest.square() - over.square()).clamp(min=0).sqrt()
        return torch.where(away_mm == 0, radius, section)


@dataclass(frozen=True, eq=False)
class Spots:
    """The sections of n tumours in their places."""

    shape: Shape
    depth_mm: Tensor
    """(n, s, rows, columns) depth of each pixel inside the tumour; negative outside."""
    radius_mm: Tensor
    """(n, s) of each section; 0 where the slice is not reached."""
    away_mm: Tensor
    pixel_mm: Tensor
    """(n,)."""

    @property
    def reached(self) -> Tensor:
        """(n, s) which slices show the tumour."""
        return self.radius_mm > 0

    @staticmethod
    def at(
        place: Tensor, shape: Shape, bends: Tensor, away_mm: Tensor, pixel_mm: Tensor
    ) -> "Spots":
        """Return tumours with their middle at flat indices `place` (n,) of a plane.

        Args:
            place: where.
            shape: which tumours.
            bends: (2, n, rows, columns) by how many mm their outlines are moved.
            away_mm: (n, s) as in `Beside`.
            pixel_mm: (n,).
        """
        rows, columns = bends.shape[-2:]
        mm, device = pixel_mm[:, None, None], place.device
        row, column = (place // columns)[:, None, None], (place % columns)[:, None, None]
        y = (torch.arange(rows, device=device)[:, None] - row) * mm + bends[0]
        x = (torch.arange(columns, device=device) - column) * mm + bends[1]
        cos, sin = shape.angle.cos(), shape.angle.sin()
        along, across = cos * x + sin * y, cos * y - sin * x
        distance = torch.hypot(along / shape.aspect, across * shape.aspect)
        radius = shape.sections_mm(away_mm)
        depth = radius[:, :, None, None] - distance[:, None]
        return Spots(shape, depth, radius, away_mm, pixel_mm)


def outlines(
    shape: Shape, planes: tuple[int, int, int], pixel_mm: Tensor, random: torch.Generator
) -> Tensor:
    """Return by how many mm outlines are moved, (2, n, rows, columns), anywhere in a plane."""
    smooth = (0.6 * shape.radius_mm / pixel_mm).clamp(min=1)
    return clouds(planes, smooth, random) * shape.bend * shape.radius_mm


def drawn(spot: Spots, hu: Tensor, liver: Tensor, level: Tensor, random: torch.Generator) -> Tensor:
    """Return slices with their tumours in them; nothing outside of the liver is changed.

    Args:
        spot: the tumours.
        hu: (n, s, rows, columns).
        liver: likewise.
        level: (n, 1, 1, 1) HU that the liver has in the middle.
        random: the source of all chance.
    """
    shape, mm = spot.shape, spot.pixel_mm[:, None, None, None]
    around = _pushed(spot, hu, liver)
    # The scan's own noise, without its vessels: what a blur of 1.5 pixels takes away.
    grain = hu - blurred(hu, 1.5)
    darker = torch.minimum(shape.contrast_hu[:, None], DARKEST * level.clamp(min=0))
    texture = _texture(spot, random) * shape.texture_hu[:, None]
    tumour = level - darker + grain + texture
    share = blurred(spot.depth_mm > 0, EDGE_MM / mm)
    rim = torch.exp(-(spot.depth_mm / EDGE_MM + 1).square()) * shape.capsule_hu[:, None]
    mixed = around + (tumour - around) * share + rim
    # At the capsule the blur is one half, so twice of it is 1 inside and falls off in a pixel.
    within = (2 * blurred(liver, 0.7)).clamp(0, 1)
    return torch.where(liver, hu + (mixed - hu) * within, hu)


def _texture(spot: Spots, random: torch.Generator) -> Tensor:
    """Return fine and coarse texture, each of deviation 1, in every slice (n, s, rows, columns)."""
    shape, mm = spot.shape, spot.pixel_mm[:, None, None]
    coarse_mm = shape.diameter_mm / 6
    planes = (len(spot.pixel_mm), *spot.depth_mm.shape[-2:])
    total = torch.zeros_like(spot.depth_mm)
    for length_mm, least in ((torch.full_like(coarse_mm, FINE_MM), 1.0), (coarse_mm, 2.0)):
        sigma = (length_mm / mm).clamp(min=least)
        own, below = clouds(planes, sigma, random)
        if spot.away_mm.shape[1] == 1:
            total = total + own[:, None]
            continue
        above, _ = clouds(planes, sigma, random)
        total = total + _across(own, (below, above), spot.away_mm[:, :, None, None], length_mm)
    return total


def _across(own: Tensor, ends: tuple[Tensor, Tensor], away_mm: Tensor, length_mm: Tensor) -> Tensor:
    """Return noise that is `own` near the slice, and further off more and more that of its side."""
    alike = torch.exp(-(away_mm / length_mm[:, None]).square() / 2)
    other = torch.where(away_mm < 0, ends[0][:, None], ends[1][:, None])
    # Squares of the weights sum to 1, which keeps the deviation of independent noise.
    return alike * own[:, None] + (1 - alike.square()).sqrt() * other


def _pushed(spot: Spots, hu: Tensor, liver: Tensor) -> Tensor:
    """Return the slices with what lies around each tumour pushed away from it, in the liver."""
    rows, columns = hu.shape[-2:]
    radius = spot.radius_mm[:, :, None, None].clamp(min=1e-3)
    # Outside of the slice there is no liver, as at its surface.
    under = distances(~pad(liver, (1, 1, 1, 1)))[..., 1:-1, 1:-1]
    fading = torch.exp(spot.depth_mm.clamp(max=0) / (0.7 * radius)) * (under / SKIN).clamp(max=1)
    push = spot.shape.push[:, None] * radius / spot.pixel_mm[:, None, None, None]
    down, right = torch.gradient(_smooth(spot.depth_mm), dim=(-2, -1))
    # In the middle of the tumour the slope is 0 and has no direction.
    moved = push * fading / torch.hypot(down, right).clamp(min=1e-3)
    y = torch.arange(rows, device=hu.device)[:, None] + down * moved
    x = torch.arange(columns, device=hu.device) + right * moved
    # -1 and 1 are the middles of the outermost pixels (align_corners=True).
    grid = torch.stack([2 * x / max(columns - 1, 1) - 1, 2 * y / max(rows - 1, 1) - 1], dim=-1)
    shown = grid_sample(
        hu.flatten(0, 1)[:, None],
        grid.flatten(0, 1),
        padding_mode="border",
        align_corners=True,
    )
    return shown[:, 0].reshape(hu.shape)


def _smooth(depth_mm: Tensor) -> Tensor:
    """Return depths blurred by 2 pixels, which rounds off the cone's point."""
    # In a circle they would jump at the borders of a slice; the liver does not lie there.
    return blurred(depth_mm, 2.0)
