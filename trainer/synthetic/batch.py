"""Tumours planted into some slices of a batch."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.errors import BadData
from trainer.synthetic.planting import plant
from trainer.synthetic.slab import Beside, Slab, alone, stacked


def plant_some(
    hu: Tensor,
    target: Tensor,
    pixel_mm: Tensor,
    probability: float,
    random: torch.Generator,
    beside: Beside | None = None,
) -> tuple[Tensor, Tensor]:
    """Return slices and targets, some of them, each with `probability`, with planted tumours.

    Each is planted on the host, whatever device it lies on, and comes back there.

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
    hu, target = hu.clone(), target.clone()
    place = hu.device
    chosen = torch.rand(len(hu), generator=random, device=place) < probability
    for index in torch.nonzero(chosen)[:, 0].tolist():
        # NumPy's generator is fed by torch's, so that one seed decides the whole batch.
        seed = int(torch.randint(2**31, (1,), generator=random, device=place))
        chance, mm = np.random.default_rng(seed), float(pixel_mm[index])
        slab, which = _slab_of(hu, target, mm, index, beside)
        planted = plant(slab, chance)
        hu[index] = torch.from_numpy(planted.hu[which]).to(place)
        target[index] = torch.from_numpy(planted.target[planted.own]).to(place)
    return hu, target


def _slab_of(
    hu: Tensor, target: Tensor, pixel_mm: float, index: int, beside: Beside | None
) -> tuple[Slab, NDArray[np.intp] | int]:
    shown = hu[index].cpu().numpy()
    if beside is None:
        return alone(shown, target[index].cpu().numpy(), pixel_mm), 0
    there, away_mm = beside.target[index].cpu().numpy(), beside.away_mm[index].cpu().numpy()
    return stacked(shown, there, away_mm, pixel_mm)
