"""Slices that can be marked at once: one patient, one spacing."""

from collections.abc import Iterator

import numpy as np

from trainer.datasets.slices import Slices

BATCH = 8


def alike(slices: Slices, unknown_pixel_mm: float) -> Iterator[tuple[str, float, Slices]]:
    """Yield each patient's slices of one pixel spacing, a few at a time."""
    spacing = np.where(np.isnan(slices.pixel_mm), unknown_pixel_mm, slices.pixel_mm)
    for patient in np.unique(slices.patient):
        for spacing_mm in np.unique(spacing[slices.patient == patient]):
            chosen = np.flatnonzero((slices.patient == patient) & (spacing == spacing_mm))
            for start in range(0, len(chosen), BATCH):
                yield str(patient), float(spacing_mm), slices[chosen[start : start + BATCH]]
