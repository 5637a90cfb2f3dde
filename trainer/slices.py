"""Labelled axial slices in Hounsfield units, whatever file they come from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.volume import Label
from trainer.errors import BadData

SIDE = 256
"""Rows and columns of every slice."""


class Target(IntEnum):
    """What is known of a pixel: the engine's labels, and two states of not knowing."""

    BACKGROUND = Label.BACKGROUND
    LIVER = Label.LIVER
    TUMOUR = Label.TUMOUR
    LIVER_OR_TUMOUR = 3
    """Inside the liver's outline, tumours not drawn."""
    UNKNOWN = 255
    """Outside of what was looked at."""


@dataclass(frozen=True, eq=False)
class Slices:
    """Axial slices, rows running to the back and columns to the patient's left."""

    hu: NDArray[np.int16]
    """(n, 256, 256), Hounsfield units; what lies outside the source's window is clipped."""
    target: NDArray[np.uint8]
    """(n, 256, 256), values of `Target`."""
    patient: NDArray[np.str_]
    """(n,) whose slice it is; one patient has one name in every source."""
    pixel_mm: NDArray[np.float32]
    """(n,) millimetres between pixels; nan where the source lost it."""

    def __post_init__(self) -> None:
        count = len(self.patient)
        for array in (self.hu, self.target):
            if array.shape != (count, SIDE, SIDE):
                raise BadData(f"{count} slices of {SIDE}x{SIDE} expected, got {array.shape}")
        if self.pixel_mm.shape != (count,):
            raise BadData(f"{count} pixel sizes expected, got {self.pixel_mm.shape}")

    def __len__(self) -> int:
        return len(self.patient)

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "Slices":
        return Slices(
            self.hu[chosen], self.target[chosen], self.patient[chosen], self.pixel_mm[chosen]
        )

    def of(self, patients: Iterable[str]) -> "Slices":
        """Return the slices of the named patients."""
        return self[np.isin(self.patient, list(patients))]

    @property
    def tumour_pixels(self) -> NDArray[np.int64]:
        """(n,) how many pixels of each slice are drawn as tumour."""
        return np.asarray(np.count_nonzero(self.target == Target.TUMOUR, axis=(1, 2)))


def concatenate(parts: Sequence[Slices]) -> Slices:
    """Return all slices of `parts`, in order."""
    return Slices(
        np.concatenate([part.hu for part in parts]),
        np.concatenate([part.target for part in parts]),
        np.concatenate([part.patient for part in parts]),
        np.concatenate([part.pixel_mm for part in parts]),
    )


def read_slices(folder: Path) -> Slices:
    """Read every data set known by its file name in `folder`.

    Raises:
        BadData: none of them is there.
    """
    parts = [read(folder / name) for name, read in READERS.items() if (folder / name).is_file()]
    if not parts:
        raise BadData(f"none of {', '.join(READERS)} in {folder}: name the folder that holds them")
    return concatenate(parts)


def read_msd(path: Path) -> Slices:
    """Read slices of Medical Segmentation Decathlon Task03: livers with their tumours inside.

    A patient who is also in LiTS goes by the LiTS number.
    """
    with np.load(path) as file:
        inside = file["mask"] > 0
        known = file["lits_volume"]
        names = [
            lits_patient(volume) if volume >= 0 else f"msd{patient}"
            for volume, patient in zip(known, file["patient"], strict=True)
        ]
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


def lits_patient(volume: int) -> str:
    """Return the patient's name of a LiTS volume; 14 and 15 look like one patient."""
    return f"lits{14 if volume == 15 else volume}"
