"""Slices that were cut and packed by others: five files, each known by its name.

`lits_spacing.json` may lie beside them: the voxel sizes of the LiTS volumes, with which every slice
has its true scale.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cases.slices import SIDE, Slices
from trainer.datasets.cases.target import Target
from trainer.datasets.layouts.patient_names import lits_patient, slices_patient, volume_of_slices

SPACING = "lits_spacing.json"
SOURCE_SIDE = 512
"""Rows and columns of the volumes that the slices were cut from."""
VOLUMES = "lits2to5_slices.npz"


def read_msd(path: Path) -> Slices:
    """Read slices of Medical Segmentation Decathlon Task03: livers with their tumours inside.

    A patient who is also in LiTS goes by the LiTS number.
    """
    with np.load(path) as file:
        inside = file["mask"] > 0
        patients, volumes = file["patient"].tolist(), file["lits_volume"].tolist()
        hu = file["image"].astype(np.int16)
    names = list(map(slices_patient, patients, volumes))
    volumes = list(map(volume_of_slices, patients, volumes))
    target = np.where(inside, np.uint8(Target.LIVER_OR_TUMOUR), np.uint8(Target.BACKGROUND))
    pixel_mm = _pixel_mm(path, volumes, hu.shape[-1])
    return Slices(
        hu, target, np.array(names), pixel_mm, slice_mm=_spacing_mm(path, volumes, "slice")
    )


def read_lits(path: Path) -> Slices:
    """Read slices of LiTS volumes with liver and tumour drawn by experts.

    Of volumes that lie beside them without loss, the copies packed as JPEG are left out.
    """
    with np.load(path) as file:
        volume = file["volume"]
        lost = np.isnan(file["pixel_mm"])
        spacing = _pixel_mm(path, volume.tolist(), file["image"].shape[-1])
        slices = Slices(
            _hu(file["image"], file["window"]),
            file["label"],
            np.array([lits_patient(each) for each in volume]),
            np.where(lost, spacing, file["pixel_mm"]),
            slice_mm=_spacing_mm(path, volume.tolist(), "slice"),
        )
    whole = path.parent / VOLUMES
    if whole.is_file():
        with np.load(whole) as file:
            return slices[~np.isin(volume, file["volume"])]
    return slices


def read_volumes(path: Path) -> Slices:
    """Read the liver slices of LiTS volumes, one after the other without gaps."""
    with np.load(path) as file:
        volume = file["volume"]
        return Slices(
            _hu(file["image"], file["window"]),
            file["label"],
            np.array([lits_patient(each) for each in volume]),
            file["pixel_mm"],
            np.array([f"LiTS volume {each}" for each in volume]),
            (file["slice"] * file["z_mm"]).astype(np.float32),
            slice_mm=file["z_mm"].astype(np.float32),
        )


def read_negatives(path: Path) -> Slices:
    """Read slices of chests and a head, none of which shows any liver."""
    with np.load(path) as file:
        hu = file["image"]
        target = np.full(hu.shape, Target.BACKGROUND, np.uint8)
        return Slices(hu, target, file["patient"], file["pixel_mm"])


def read_crop(path: Path) -> Slices:
    """Read the liver's surroundings in LiTS volume 117; outside them nothing is known.

    The pixel size is lost; with 2 mm the liver has a usual size.
    """
    with np.load(path) as file:
        # (x, y, z): x runs to the left, y to the back.
        hu, label = (file[name].transpose(2, 1, 0) for name in ("ct", "label"))
    chosen = slice(None, None, 3)  # neighbours are nearly the same slice
    count = len(hu[chosen])
    margin = (SIDE - hu.shape[1]) // 2
    window = (slice(None), *[slice(margin, margin + n) for n in hu.shape[1:]])
    whole = np.zeros((count, SIDE, SIDE), np.int16)
    target = np.full(whole.shape, Target.UNKNOWN, np.uint8)
    whole[window], target[window] = hu[chosen], label[chosen]
    return Slices(whole, target, np.full(count, "lits117"), np.full(count, 2.0, np.float32))


READERS: dict[str, Callable[[Path], Slices]] = {
    "msd_liver_slices.npz": read_msd,
    "lits_tumour_slices.npz": read_lits,
    VOLUMES: read_volumes,
    "lits117_crop.npz": read_crop,
    "negatives_chest_head.npz": read_negatives,
}
"""File name to reader."""


def read_packed(folder: Path) -> Iterator[tuple[str, Slices]]:
    """Yield each of the files that lies in `folder`: its name, and its slices."""
    for name, read in READERS.items():
        if (folder / name).is_file():
            yield name, read(folder / name)


def _hu(image: NDArray[np.uint8], window: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return the Hounsfield units of grey values whose 0 and 255 are the window's bounds."""
    low, high = window.T[:, :, None, None]
    hu: NDArray[np.int16] = np.rint(low + image * ((high - low) / 255)).astype(np.int16)
    return hu


def _pixel_mm(path: Path, volumes: list[int], side: int) -> NDArray[np.float32]:
    """Return the pixel size of slices of LiTS volumes; nan where it is unknown."""
    # Slices were scaled to another side, their pixels with it.
    return _spacing_mm(path, volumes, "row") * np.float32(SOURCE_SIDE / side)


def _spacing_mm(
    path: Path, volumes: list[int], axis: Literal["row", "slice"]
) -> NDArray[np.float32]:
    """Return the spacing of LiTS volumes along an axis; nan where it is unknown."""
    beside = path.parent / SPACING
    facts = json.loads(beside.read_text()) if beside.is_file() else {}
    along = 0 if axis == "row" else 2
    known_mm = {int(volume): float(each["spacing_mm"][along]) for volume, each in facts.items()}
    return np.array([known_mm.get(volume, np.nan) for volume in volumes], np.float32)
