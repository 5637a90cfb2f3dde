"""Slices and labels of one volume in a file that is read slice by slice, for scrolling through."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from engine.findings.contours import WINDOW_HU
from engine.volume import LabelMap, Volume

SUFFIX = ".scan.npy"


@dataclass(frozen=True, eq=False)
class ScanSlice:
    """One slice as it is shown."""

    grey: NDArray[np.uint8]
    """(rows, columns) within the window of soft tissue."""
    labels: NDArray[np.uint8]
    """(rows, columns), values of `Label`."""


def write_scan(file: Path, volume: Volume, labels: LabelMap) -> None:
    """Write a volume and its labels as (2, slices, rows, columns) of bytes."""
    low, high = WINDOW_HU
    stored = open_memmap(file, "w+", np.uint8, (2, *volume.hu.shape))
    for index, hu in enumerate(volume.hu):
        stored[0, index] = (np.clip(hu, low, high).astype(np.float32) - low) * (255 / (high - low))
    stored[1] = labels.labels
    stored.flush()


def read_slice(file: Path, index: int) -> ScanSlice:
    """Return one slice, counted from 0 at the foot."""
    stored = np.load(file, mmap_mode="r")
    return ScanSlice(np.array(stored[0, index]), np.array(stored[1, index]))


def marked_area(file: Path) -> NDArray[np.intp]:
    """Return (slices,) how many pixels of each slice have a label."""
    stored = np.load(file, mmap_mode="r")
    return np.array([np.count_nonzero(labels) for labels in stored[1]])
