"""Packed slices that models are judged on and never learn from: two files, known by their names.

Training does not read them. Their pixel size is lost, and grey values are Hounsfield units from the
lower bound of `window` on.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cases.slices import Slices
from trainer.datasets.cases.target import Target

ASSUMED_MM = 0.75
"""Pixel size of an abdomen that fills 512 pixels."""

BEYOND_HU = 1000
"""Added beyond the window's bounds, where air and bone were clipped."""

LABELS = {
    "curvas_slices_512.npz": {1: Target.LIVER_OR_TUMOUR},
    "msd08_hepaticvessel_slices_512.npz": {2: Target.TUMOUR},
}
"""File name to the labels that count here: CURVAS draws organs, MSD Task08 vessels and tumours."""

ELSEWHERE = {
    "curvas_slices_512.npz": Target.BACKGROUND,
    "msd08_hepaticvessel_slices_512.npz": Target.NO_TUMOUR,
}
"""File name to the target of all other pixels; MSD Task08 does not draw the liver."""


def read_judged(place: Path) -> Iterator[Slices]:
    """Yield the slices of each of the files that lies in a folder, or of the one named."""
    for path in [place] if place.is_file() else [place / name for name in LABELS]:
        if path.name in LABELS and path.is_file():
            yield _read(path)


def _read(path: Path) -> Slices:
    with np.load(path) as file:
        target = np.full(file["label"].shape, ELSEWHERE[path.name], np.uint8)
        for label, meaning in LABELS[path.name].items():
            target[file["label"] == label] = meaning
        hu = _hu(file["image"], file["window"])
        patients = np.array([f"{path.name.split('_')[0]}-{each}" for each in file["patient"]])
    return Slices(hu, target, patients, np.full(len(hu), ASSUMED_MM, np.float32))


def _hu(image: NDArray[np.uint8], window: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return Hounsfield units; at the window's bounds, air or bone."""
    # One window for each slice, spread over rows and columns.
    low, high = window.T[:, :, None, None]
    hu = np.rint(low + image * ((high - low) / 255))
    # What was at a bound may have been anything beyond it: models expect air there, or bone, and
    # not grey.
    clipped = BEYOND_HU * ((hu >= high).astype(np.int16) - (hu <= low).astype(np.int16))
    restored: NDArray[np.int16] = (hu + clipped).astype(np.int16)
    return restored
