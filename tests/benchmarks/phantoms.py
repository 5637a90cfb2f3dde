"""Large CT series that anyone can make: phantoms of 512x512 pixels."""

from functools import cache
from pathlib import Path

import numpy as np

from dicom_node.results.phantom import write_series
from engine.phantom import Phantom, make_phantom
from engine.volume import Geometry, LabelMap, Volume

DRAWN = 60
"""Planes that are drawn; each is repeated until there are enough, for drawing is slow."""
EXTENT_MM = 420


@cache
def phantom_files(folder: Path, slices: int, name: str = "bench", size: int = 512) -> list[Path]:
    """Write a phantom of `slices`, a multiple of `DRAWN`, and return its files."""
    phantom = _repeated(_drawn(size), slices // DRAWN)
    return write_series(phantom, f"{name} {slices}", folder / f"{name}{slices}")


@cache
def _drawn(size: int) -> Phantom:
    spacing = EXTENT_MM / DRAWN, 390 / size, 390 / size
    return make_phantom(shape=(DRAWN, size, size), spacing_mm=spacing)


def _repeated(phantom: Phantom, times: int) -> Phantom:
    """The same body, with `times` as many slices as thin."""
    grid = phantom.volume.geometry
    slices, rows, columns = grid.shape
    thinner = grid.affine / [times, 1, 1, 1]
    finer = Geometry((slices * times, rows, columns), thinner, grid.frame_of_reference)
    return Phantom(
        Volume(np.repeat(phantom.volume.hu, times, axis=0), finer),
        LabelMap(np.repeat(phantom.truth.labels, times, axis=0), finer),
    )
