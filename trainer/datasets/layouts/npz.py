"""Slices that were cut and packed by others: three files, each known by its name."""

from pathlib import Path

import numpy as np

from trainer.datasets.cases.slices import SIDE, Slices
from trainer.datasets.cases.target import Target
from trainer.datasets.layouts.patient_names import lits_patient, slices_patient


def read_msd(path: Path) -> Slices:
    """Read slices of Medical Segmentation Decathlon Task03: livers with their tumours inside.

    A patient who is also in LiTS goes by the LiTS number.
    """
    with np.load(path) as file:
        inside = file["mask"] > 0
        names = list(map(slices_patient, file["patient"].tolist(), file["lits_volume"].tolist()))
        hu = file["image"].astype(np.int16)
    target = np.where(inside, np.uint8(Target.LIVER_OR_TUMOUR), np.uint8(Target.BACKGROUND))
    return Slices(hu, target, np.array(names), np.full(len(names), np.nan, np.float32))


def read_lits(path: Path) -> Slices:
    """Read slices of LiTS volumes with liver and tumour drawn by experts."""
    with np.load(path) as file:
        low, high = file["window"].T[:, :, None, None]
        hu = low + file["image"] * ((high - low) / 255)
        names = np.array([lits_patient(volume) for volume in file["volume"]])
        return Slices(np.rint(hu).astype(np.int16), file["label"], names, file["pixel_mm"])


def read_crop(path: Path) -> Slices:
    """Read the liver's surroundings in LiTS volume 117; outside them nothing is known.

    The pixel size is lost; with 2 mm the liver has a usual size.
    """
    with np.load(path) as file:
        hu, label = (np.rot90(file[name]).transpose(2, 0, 1) for name in ("ct", "label"))
    chosen = slice(None, None, 3)  # neighbours are nearly the same slice
    count = len(hu[chosen])
    margin = (SIDE - hu.shape[1]) // 2
    window = (slice(None), *[slice(margin, margin + n) for n in hu.shape[1:]])
    whole = np.zeros((count, SIDE, SIDE), np.int16)
    target = np.full(whole.shape, Target.UNKNOWN, np.uint8)
    whole[window], target[window] = hu[chosen], label[chosen]
    return Slices(whole, target, np.full(count, "lits117"), np.full(count, 2.0, np.float32))


READERS = {
    "msd_liver_slices.npz": read_msd,
    "lits_tumour_slices.npz": read_lits,
    "lits117_crop.npz": read_crop,
}
"""File name to reader."""
