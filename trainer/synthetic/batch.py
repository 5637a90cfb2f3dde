"""Tumours planted into some slices of a batch."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.errors import BadData
from trainer.synthetic.batch_planting import draw_plan, plant_planned
from trainer.synthetic.planting import plant
from trainer.synthetic.slab import Beside, Slab, alone, stacked

PLAN = 1
"""Tells the chance of what is planted from other chance of the same seed."""


def plant_some(
    hu: Tensor,
    target: Tensor,
    pixel_mm: Tensor,
    probability: float,
    random: torch.Generator,
    beside: Beside | None = None,
) -> tuple[Tensor, Tensor]:
    """Return slices and targets, some of them, each with `probability`, with planted tumours.

    On a processor this is done slice by slice, by `planting`; on another device for all slices at
    once, by `batch_planting`, without waiting for the device. Both plant the same in distribution.

    Args:
        hu: (n, rows, columns) float32, or (n, s, rows, columns), each with its neighbours.
        target: (n, rows, columns) uint8.
        pixel_mm: (n,), all of them known.
        probability: 0 to 1, for each slice.
        random: the source of all chance.
        beside: what is known of the neighbours, where there are any.

    Raises:
        BadData: slices bring neighbours of which nothing is known.
    """
    if hu.dim() == 4 and beside is None:
        raise BadData(f"slices of {tuple(hu.shape)}: no tumour without the neighbours' targets")
    if hu.device.type != "cpu":
        plan = draw_plan(len(hu), probability, _own_chance(random))
        return plant_planned(hu, target, pixel_mm, plan, random, beside)
    hu, target = hu.clone(), target.clone()
    chosen = torch.rand(len(hu), generator=random) < probability
    for index in torch.nonzero(chosen)[:, 0].tolist():
        # NumPy's generator is fed by torch's, so that one seed decides the whole batch.
        seed = int(torch.randint(2**31, (1,), generator=random))
        chance, mm = np.random.default_rng(seed), float(pixel_mm[index])
        slab, which = _slab_of(hu, target, mm, index, beside)
        planted = plant(slab, chance)
        hu[index] = torch.from_numpy(planted.hu[which])
        target[index] = torch.from_numpy(planted.target[planted.own])
    return hu, target


def _own_chance(random: torch.Generator) -> np.random.Generator:
    """Return a source of chance on the host that follows from the seed of one on a device."""
    # Numbers drawn on a device would have to be waited for. Each batch has a seed of its own.
    return np.random.default_rng((random.initial_seed(), PLAN))


def _slab_of(
    hu: Tensor, target: Tensor, pixel_mm: float, index: int, beside: Beside | None
) -> tuple[Slab, NDArray[np.intp] | int]:
    shown = hu[index].numpy()
    if beside is None:
        return alone(shown, target[index].numpy(), pixel_mm), 0
    there, away_mm = beside.target[index].numpy(), beside.away_mm[index].numpy()
    return stacked(shown, there, away_mm, pixel_mm)
