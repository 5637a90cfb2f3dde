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
    slice_places: tuple[float, ...] | None = None
    """Where each slice lies, ascending, in steps of the affine; None where that is 0, 1, 2 and so
    on. Slices at changing distances, or with some missing between, have it."""

    def __post_init__(self) -> None:
        if self.slice_places is not None and len(self.slice_places) != self.shape[0]:
            raise GeometryError(f"{len(self.slice_places)} places for {self.shape[0]} slices")

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between slices, perpendicular to them, between rows and between columns.

        The step from slice to slice is longer than that where a gantry was tilted.
        """
        _, rows, columns = np.linalg.norm(self.affine[:3, :3], axis=0)
        # The unit normal of the slices.
        across = np.cross(self.affine[:3, 1] / rows, self.affine[:3, 2] / columns)
        return float(abs(across @ self.affine[:3, 0])), float(rows), float(columns)

    def place(self, index: float) -> float:
        """Return where a slice lies, in steps of the affine; between slices, in proportion."""
        if self.slice_places is None:
            return index
        return float(np.interp(index, range(self.shape[0]), self.slice_places))

    def slice_weights(self) -> NDArray[np.float64]:
        """Return (slices,) how many steps of the affine each slice stands for.

        Half the way to the neighbours on both sides, and as much outwards at the ends.
        """
        if self.slice_places is None or self.shape[0] < 2:
            return np.ones(self.shape[0])
        half = np.diff(self.slice_places) / 2
        # Below each slice and above it; the outermost gap is used on both sides.
        weights: NDArray[np.float64] = np.append(half[:1], half) + np.append(half, half[-1:])
        return weights

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres, in a slice that stands for one step."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def matches(self, other: "Geometry", tolerance_mm: float = 1e-3) -> bool:
        """Return whether both are the same grid in the same frame of reference."""
        return (
            self.frame_of_reference == other.frame_of_reference
            and self.shape == other.shape
            and np.allclose(
                self.slice_places or range(self.shape[0]),
                other.slice_places or range(other.shape[0]),
                rtol=0,
                atol=tolerance_mm,
            )
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
        # Slice by slice: a mask of the whole volume would leave the processor's cache.
        counts = np.array([np.count_nonzero(plane == label) for plane in self.labels])
        return float(counts @ self.geometry.slice_weights() * self.geometry.voxel_ml)


def millilitres(mask: NDArray[np.bool_], geometry: Geometry, first: int = 0) -> float:
    """Return the volume of a mask of whole slices, each weighed by its place.

    Args:
        mask: (slices, any, any) of the grid.
        geometry: of the whole grid.
        first: slice of the grid at which the mask begins.
    """
    if geometry.slice_places is None:
        return float(np.count_nonzero(mask) * geometry.voxel_ml)
    counts = np.count_nonzero(mask, axis=(1, 2))
    weights = geometry.slice_weights()[first : first + len(mask)]
    return float(counts @ weights * geometry.voxel_ml)


def _require_shape(array: NDArray[Any], geometry: Geometry) -> None:
    if array.shape != geometry.shape:
        raise GeometryError(
            f"array of shape {array.shape} does not fit the grid of shape {geometry.shape}"
        )
