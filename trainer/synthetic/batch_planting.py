"""Tumours planted into many slices at once, on the device that the slices lie on.

`planting` does the same slice by slice on the host. What is drawn, and in what numbers, is drawn
there, by the same functions; all that has to do with pixels happens on the device.
"""

from dataclasses import astuple, dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.datasets.cases.target import Target
from trainer.synthetic.batch_drawing import Shape, Spots, drawn, outlines
from trainer.synthetic.lesion import Body, Lesion, draw_body, draw_lesion
from trainer.synthetic.planes import blurred, distances
from trainer.synthetic.planting import APART_MM, DARK_HU, DARK_OVER, MOST, TRIES
from trainer.synthetic.slab import Beside

FIELDS = len(fields(Lesion)) + len(fields(Body))


@dataclass(frozen=True, eq=False)
class Slabs:
    """Slices with their neighbours, or alone, on one device."""

    hu: Tensor
    """(n, s, rows, columns) float32."""
    target: Tensor
    """The same shape, uint8, values of `Target`."""
    away_mm: Tensor
    """(n, s) as in `Beside`: 0 where it is the slice that is learnt from."""
    pixel_mm: Tensor
    """(n,)."""

    def __getitem__(self, chosen: Tensor) -> "Slabs":
        return Slabs(
            self.hu[chosen], self.target[chosen], self.away_mm[chosen], self.pixel_mm[chosen]
        )

    @property
    def liver(self) -> Tensor:
        """(n, s, rows, columns) liver without tumours that were drawn."""
        return (self.target == Target.LIVER) | (self.target == Target.LIVER_OR_TUMOUR)

    @property
    def own(self) -> Tensor:
        """(n, s, 1, 1) which is the slice that is learnt from, or stands in for a neighbour."""
        return (self.away_mm == 0)[:, :, None, None]


@dataclass(frozen=True)
class Plan:
    """How many tumours each slice of a batch gets, and which; drawn on the host."""

    rounds: tuple[NDArray[np.intp], ...]
    """Slices that get a first tumour, a second one, and so on."""
    shapes: tuple[NDArray[np.float32], ...]
    """Of each round (n, `FIELDS`): fields of `Lesion` and `Body`, in their order."""


def draw_plan(count: int, probability: float, random: np.random.Generator) -> Plan:
    """Return tumours for `probability` of `count` slices, as many and as `planting` draws them."""
    chosen = np.flatnonzero(random.random(count) < probability)
    numbers = np.minimum(random.geometric(0.6, len(chosen)), MOST)
    rounds = [chosen[numbers > done] for done in range(numbers.max(initial=0))]
    shapes = [
        np.array(
            [(*astuple(draw_lesion(random)), *astuple(draw_body(random))) for _ in each], np.float32
        )
        for each in rounds
    ]
    return Plan(tuple(rounds), tuple(shapes))


def plant_planned(
    hu: Tensor,
    target: Tensor,
    pixel_mm: Tensor,
    plan: Plan,
    random: torch.Generator,
    beside: Beside | None = None,
) -> tuple[Tensor, Tensor]:
    """Return slices and targets with the tumours of a plan, where the liver has room for them.

    Args:
        hu: (n, rows, columns) float32, or (n, s, rows, columns), each with its neighbours.
        target: (n, rows, columns) uint8.
        pixel_mm: (n,), all of them known.
        plan: of so many slices.
        random: the source of places, outlines and textures.
        beside: what is known of the neighbours, where there are any.
    """
    if beside is None:
        away_mm = torch.zeros_like(pixel_mm)[:, None]
        slabs = Slabs(hu[:, None].clone(), target[:, None].clone(), away_mm, pixel_mm)
    else:
        slabs = Slabs(hu.clone(), beside.target.clone(), beside.away_mm, pixel_mm)
    for rows, shapes in zip(plan.rounds, plan.shapes, strict=True):
        chosen = torch.from_numpy(rows).to(hu.device)
        shape = Shape.of(torch.from_numpy(shapes).to(hu.device))
        planted = with_one(slabs[chosen], shape, random)
        slabs.hu[chosen], slabs.target[chosen] = planted
    new = (slabs.target == Target.TUMOUR) & slabs.own
    labels = torch.where(new.any(dim=1), int(Target.TUMOUR), target)
    return (slabs.hu[:, 0] if beside is None else slabs.hu), labels


def with_one(slabs: Slabs, shape: Shape, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return HU and targets with one tumour more in each slab, if one of the places tried fits."""
    mm, liver = slabs.pixel_mm[:, None, None], slabs.liver
    index = slabs.own[:, :, 0, 0].byte().argmax(dim=1)
    each = torch.arange(len(index), device=index.device)
    own_liver = liver[each, index]
    inside = slabs.hu[each, index].where(own_liver, torch.nan).flatten(1)
    # The median: vessels and what was not drawn are the smaller part. 0 where there is no liver.
    level = inside.nanmedian(dim=1).values.nan_to_num()[:, None, None, None]
    free = liver & _far_from_tumours(slabs, level)
    chances = torch.rand(own_liver.shape, generator=random, device=mm.device)
    best = (chances * free[each, index]).flatten(1).topk(TRIES)
    count, rows, columns = own_liver.shape
    bends = outlines(shape, (count, rows, columns), mm, random)
    spots = [
        Spots.at(place, shape, bends, slabs.away_mm, slabs.pixel_mm)
        for place in best.indices.unbind(dim=1)
    ]
    fitting = torch.stack([_fits(slabs, spot, free, liver) for spot in spots], 1)
    fitting = fitting & (best.values > 0)
    # The first that fits, as places come in a random order.
    first = torch.where(fitting, torch.arange(TRIES, device=mm.device), TRIES).amin(dim=1)
    chosen = best.indices.gather(1, first.clamp(max=TRIES - 1)[:, None])[:, 0]
    spot = Spots.at(chosen, shape, bends, slabs.away_mm, slabs.pixel_mm)
    there = (fitting.any(dim=1)[:, None] & spot.reached)[:, :, None, None]
    hu = drawn(spot, slabs.hu, liver, level, random)
    new = there & liver & (spot.depth_mm > 0)
    return torch.where(there, hu, slabs.hu), torch.where(new, int(Target.TUMOUR), slabs.target)


def _far_from_tumours(slabs: Slabs, level: Tensor) -> Tensor:
    """Mark what is far from every tumour, drawn or possible, within a slice and across slices."""
    undrawn = slabs.target == Target.LIVER_OR_TUMOUR
    dark = blurred(slabs.hu, DARK_OVER) < level - DARK_HU
    taken = (slabs.target == Target.TUMOUR) | (undrawn & dark)
    away_mm = slabs.away_mm
    near = (away_mm[:, :, None] - away_mm[:, None]).abs() <= APART_MM
    taken = (near[..., None, None] & taken[:, None]).any(dim=2)
    return distances(taken) * slabs.pixel_mm[:, None, None, None] > APART_MM


def _fits(slabs: Slabs, spot: Spots, free: Tensor, liver: Tensor) -> Tensor:
    """Return (n,) whether a tumour touches no other in any slice, avoids neighbours that were not
    looked at, and lies in the liver of its own slice with half of it or more.
    """
    whole = (spot.depth_mm > 0) & spot.reached[:, :, None, None]
    inside = whole & liver
    clear = ~(inside & ~free).flatten(1).any(dim=1)
    kept = (slabs.target == Target.TUMOUR) | (slabs.target == Target.UNKNOWN)
    unseen = ~(whole & kept & ~slabs.own).flatten(1).any(dim=1)
    enough = 2 * (inside & slabs.own).sum((1, 2, 3)) >= (whole & slabs.own).sum((1, 2, 3))
    return clear & unseen & enough
