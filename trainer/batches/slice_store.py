"""Training slices in the memory of the device that learns, as small as they are exact."""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.datasets.cases.slices import Slices
from trainer.ensemble.windows import clip
from trainer.recipe.recipe import Working

logger = logging.getLogger(__name__)

SHARE = 0.5
"""Part of a device's free memory that slices may take; networks and batches need the rest."""
GREY_LEVELS = 256
"""Values of one byte."""
PART = 256
"""Slices that are converted at once, which bounds the memory of the conversion."""

HOST = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Shown:
    """Slices on the device that learns, before they are augmented."""

    hu: Tensor
    """Float32, clipped: (n, side, side), or (n, s, side, side), each slice with its neighbours."""
    target: Tensor
    """(n, side, side) uint8, values of `Target`."""
    pixel_mm: Tensor
    """(n,) nan where unknown."""


@dataclass(frozen=True, eq=False)
class SliceStore:
    """Clipped slices and their targets: one byte a pixel where the recipe's bounds allow that."""

    hu: Tensor
    """(n, side, side), uint8 above `low_hu` or int16; in the device's memory or the host's."""
    target: Tensor
    """(n, side, side) uint8."""
    pixel_mm: Tensor
    """(n,) on the device."""
    low_hu: float
    working: Working
    place: torch.device
    """Device of the slices that are handed out."""

    def shown(self, chosen: NDArray[np.intp], around: NDArray[np.intp]) -> Shown:
        """Return the `chosen` slices, with the HU of those `around`: the same, or with neighbours.

        Args:
            chosen: (n,) which slices.
            around: (n,), or (n, s) which slices each is shown with.
        """
        hu = _take(self.hu, around, self.place).float() + self.low_hu
        pixel_mm = _take(self.pixel_mm, chosen, self.place)
        return Shown(clip(hu, self.working), self.target_of(chosen), pixel_mm)

    def target_of(self, chosen: NDArray[np.intp]) -> Tensor:
        """Return uint8 targets, in the shape of `chosen`."""
        return _take(self.target, chosen, self.place)


def store_slices(slices: Slices, working: Working, place: torch.device = HOST) -> SliceStore:
    """Return slices as the recipe clips them, in the memory of `place` if they fit into it."""
    low, high = working.clip_hu
    # Bounds between two whole values would be rounded off.
    bytes_fit = high - low < GREY_LEVELS and {low % 1, high % 1} == {0}
    base = low if bytes_fit else 0.0
    kind = torch.uint8 if bytes_fit else torch.int16
    where = _memory_for(slices.hu.size * (1 if bytes_fit else 2) + slices.target.size, place)
    hu = torch.empty(slices.hu.shape, dtype=kind, device=where)
    for part in range(0, len(slices), PART):
        some = torch.from_numpy(slices.hu[part : part + PART].copy())
        # Clipped before it is stored: what lies outside the bounds does not fit into a byte.
        fitting = clip(some.float(), working) - base if bytes_fit else some
        hu[part : part + PART] = fitting.to(kind)
    target = torch.from_numpy(slices.target.copy()).to(where)
    pixel_mm = torch.from_numpy(slices.pixel_mm.copy()).to(place)
    return SliceStore(hu, target, pixel_mm, base, working, place)


def free_memory(place: torch.device) -> int | None:
    """Return the free bytes of a device's own memory; None where it has none, or nobody counts."""
    return torch.cuda.mem_get_info(place)[0] if place.type == "cuda" else None


def _memory_for(size: int, place: torch.device) -> torch.device:
    """Return where `size` bytes of slices are to lie: on the device, or where it is full, here."""
    free = free_memory(place)
    if place.type == "cpu" or (free is not None and size <= SHARE * free):
        return place
    room = "an unknown amount of" if free is None else f"{free / 1e6:.0f} MB of"
    logger.warning(
        "slices stay in the host's memory: they take %.0f MB, and %s has %s free memory, of which "
        "they may take half; every batch is copied, which a smaller share or a larger "
        "slice_step_mm avoids",
        size / 1e6,
        place,
        room,
        extra={"action": "slices_on_host"},
    )
    return HOST


def _take(stored: Tensor, chosen: NDArray[np.intp], place: torch.device) -> Tensor:
    """Return the chosen entries, in the shape of `chosen`, on `place`."""
    index = torch.from_numpy(np.ascontiguousarray(chosen)).to(stored.device)
    return stored[index].to(place)
