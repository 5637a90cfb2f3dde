"""A device on slices that are no volume, uncleaned."""

from collections.abc import Iterator

import numpy as np

from engine.devices import Device
from trainer.datasets.slices import Slices
from trainer.evaluation.overlap import Figures, Tally

BATCH = 8


def evaluate_device(device: Device, slices: Slices, unknown_pixel_mm: float) -> Figures:
    """Compare what a device answers with what experts drew, slice by slice, uncleaned."""
    tally = Tally()
    for patient, spacing_mm, part in alike(slices, unknown_pixel_mm):
        answer = device.run(part.hu.astype(np.float16), (spacing_mm, spacing_mm))
        tally.add(patient, answer.labels, part.target)
    return tally.figures()


def alike(slices: Slices, unknown_pixel_mm: float) -> Iterator[tuple[str, float, Slices]]:
    """Yield each patient's slices of one pixel spacing, a few at a time."""
    spacing = np.where(np.isnan(slices.pixel_mm), unknown_pixel_mm, slices.pixel_mm)
    for patient in np.unique(slices.patient):
        for spacing_mm in np.unique(spacing[slices.patient == patient]):
            chosen = np.flatnonzero((slices.patient == patient) & (spacing == spacing_mm))
            for start in range(0, len(chosen), BATCH):
                yield str(patient), float(spacing_mm), slices[chosen[start : start + BATCH]]
