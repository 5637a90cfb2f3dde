"""Sampling of slices for training steps."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cases.slices import Slices
from trainer.datasets.cases.target import INSIDE, Target
from trainer.errors import BadData
from trainer.recipe.recipe import Batch

SMALL_MM = 22.0
"""Diameter of the disc below which the tumours of a slice are small: some 12 pixels of 1.75 mm, the
size below which `base` 1.2 missed most lesions."""


class Sampler:
    """Draws slices so that every patient counts by his weight, whatever the number of slices."""

    def __init__(self, slices: Slices, batch: Batch) -> None:
        # As trainer/datasets/cases/phantoms.py names them.
        phantom = np.char.startswith(slices.patient, "phantom")
        tumour = (slices.tumour_pixels > 0) & ~phantom
        unlabelled = np.all(slices.target == Target.UNKNOWN, axis=(1, 2))
        other = ~tumour & ~phantom & ~unlabelled
        small = tumour & (_tumour_diameter_mm(slices) < SMALL_MM)  # not where the scale is lost
        nothing = other & (slices.liver_pixels == 0)
        pools = [
            (_by_patient(slices, where), count)
            for where, count in (
                (tumour, batch.tumour),
                (small, batch.small),
                (nothing, batch.nothing),
                (other & ~nothing, batch.liver),
                (other, batch.other),
                (unlabelled, batch.unlabelled),
                (phantom, batch.phantom),
            )
            if count
        ]
        self._pools = [(groups, count) for groups, count in pools if groups]
        if not self._pools:
            raise BadData(
                f"no slice at hand shows what the recipe's [batch] asks for ({_described(batch)}); "
                "ask for slices of another kind, such as --set batch.other=4"
            )
        # Kinds that the data lack are made up for, so that batches keep their size.
        spare = batch.size - sum(count for _, count in self._pools)
        groups, count = self._pools[-1]
        self._pools[-1] = (groups, count + spare)
        self._weight = slices.weight

    def draw(self, random: np.random.Generator) -> NDArray[np.intp]:
        """Return the indices of one batch."""
        return np.array(
            [
                random.choice(groups[self._patient(groups, random)])
                for groups, count in self._pools
                for _ in range(count)
            ]
        )

    def _patient(self, groups: Sequence[NDArray[np.intp]], random: np.random.Generator) -> int:
        """Return which patient is drawn."""
        weights = np.array([self._weight[group[0]] for group in groups], np.float64)
        # Other numbers would be drawn by `choice` for the same patients.
        if np.all(weights == weights[0]):
            return int(random.integers(len(groups)))
        return int(random.choice(len(groups), p=weights / weights.sum()))


def _tumour_diameter_mm(slices: Slices) -> NDArray[np.float64]:
    """Return (n,) the diameter of the disc as large as a slice's tumours; nan if unknown."""
    area_mm2 = slices.tumour_pixels * slices.pixel_mm.astype(float) ** 2
    return np.asarray(2 * np.sqrt(area_mm2 / np.pi))


def _described(batch: Batch) -> str:
    asked = batch.model_dump().items()
    return ", ".join(f"{kind}: {count}" for kind, count in asked if count) or "none of any kind"


def _by_patient(slices: Slices, where: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Return the indices of the slices `where`, a group per patient.

    A slice whose outline is nearly empty is left out: a few of them are not drawn to the end.
    """
    drawn = np.count_nonzero(np.isin(slices.target, INSIDE), axis=(1, 2))
    # 60 pixels, as `FEW_PIXELS` of the checks.
    use = where & ((drawn == 0) | (drawn > 60))
    return [
        np.flatnonzero(use & (slices.patient == name)) for name in np.unique(slices.patient[use])
    ]
