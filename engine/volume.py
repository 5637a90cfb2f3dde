"""The voxel grid and the two arrays that live on it."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import GeometryError


class Label(IntEnum):
    """Voxel values of a label map; also the DICOM segment numbers."""

    BACKGROUND = 0
    LIVER = 1
    TUMOUR = 2


@dataclass(frozen=True, eq=False)
class Geometry:
    """Position and spacing of a voxel grid in the patient."""

    shape: tuple[int, int, int]
    """Voxels along (slice, row, column)."""
    affine: NDArray[np.float64]
    """(4, 4); maps a voxel index to millimetres in DICOM's LPS frame."""
    frame_of_reference: str
    """Frame of Reference UID (0020,0052)."""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxel centres along (slice, row, column)."""
        slices, rows, columns = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(slices), float(rows), float(columns)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def matches(self, other: "Geometry", tolerance_mm: float = 1e-3) -> bool:
        """Return whether both are the same grid in the same frame of reference."""
        return (
            self.frame_of_reference == other.frame_of_reference
            and self.shape == other.shape
            and np.allclose(self.affine, other.affine, rtol=0, atol=tolerance_mm)
        )


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT series as one array."""

    hu: NDArray[np.int16]
    """(slices, rows, columns), Hounsfield units."""
    geometry: Geometry

    def __post_init__(self) -> None:
        _require_shape(self.hu, self.geometry)


@dataclass(frozen=True, eq=False)
class LabelMap:
    """One `Label` per voxel of the volume it was made from."""

    labels: NDArray[np.uint8]
    """(slices, rows, columns), values of `Label`."""
    geometry: Geometry

    def __post_init__(self) -> None:
        _require_shape(self.labels, self.geometry)

    def millilitres(self, label: Label) -> float:
        """Volume that `label` occupies, in millilitres."""
        return np.count_nonzero(self.labels == label) * self.geometry.voxel_ml


def _require_shape(array: NDArray[Any], geometry: Geometry) -> None:
    if array.shape != geometry.shape:
        raise GeometryError(
            f"array of shape {array.shape} does not fit the grid of shape {geometry.shape}"
        )
