"""Planes of an image, read straight from its attributes (PS3.3 C.7.6.2.1.1)."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_node.errors import SegMismatch
from engine.volume import Geometry, LabelMap

TOLERANCE_VOXELS = 0.25
"""Largest distance of a source's slice from the even grid of its label map. How even the series is
was judged before it was segmented; here the question is only which slice is meant."""


@dataclass(frozen=True, eq=False)
class Plane:
    """The pixel grid of one image plane."""

    instance_uid: str
    frame: int | None
    """Frame number from 1; None in a single-frame instance."""
    shape: tuple[int, int]
    """Rows, columns."""
    affine: NDArray[np.float64]
    """(4, 3); maps (row, column, 1) to millimetres in LPS."""

    def corners(self) -> NDArray[np.float64]:
        """Return (4, 3): the first pixel, the last of its column and the last of its row."""
        rows, columns = self.shape
        return self.affine @ [[0, rows - 1, 0], [0, 0, columns - 1], [1, 1, 1]]

    def distance_mm(self, other: "Plane") -> float:
        """Return how far the corners of two planes of the same shape lie apart, at most."""
        return float(np.linalg.norm(self.corners() - other.corners(), axis=0).max())


def planes_of(instances: Iterable[Dataset]) -> list[Plane]:
    """Return the planes of single-frame and multi-frame instances, in the order they come."""
    return [plane for instance in instances for plane in _planes(instance)]


def _planes(instance: Dataset) -> list[Plane]:
    if "PerFrameFunctionalGroupsSequence" not in instance:
        return [_plane(instance, None, instance, instance, instance)]
    shared = instance.SharedFunctionalGroupsSequence[0]
    return [
        _plane(
            instance,
            number,
            (own if "PlanePositionSequence" in own else shared).PlanePositionSequence[0],
            (own if "PlaneOrientationSequence" in own else shared).PlaneOrientationSequence[0],
            (own if "PixelMeasuresSequence" in own else shared).PixelMeasuresSequence[0],
        )
        for number, own in enumerate(instance.PerFrameFunctionalGroupsSequence, start=1)
    ]


def _plane(
    instance: Dataset,
    frame: int | None,
    position: Dataset,
    orientation: Dataset,
    measures: Dataset,
) -> Plane:
    directions = np.array(orientation.ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = map(float, measures.PixelSpacing)
    affine = np.zeros((4, 3))
    # The first direction runs along a row, so the second leads from row to row. Pixel Spacing
    # has the distance of rows first (PS3.3 10.7.1.3).
    affine[:3, 0] = directions[1] * between_rows
    affine[:3, 1] = directions[0] * between_columns
    affine[:3, 2] = np.array(position.ImagePositionPatient, float)
    affine[3, 2] = 1
    shape = (int(instance.Rows), int(instance.Columns))
    return Plane(str(instance.SOPInstanceUID), frame, shape, affine)


def facing(label_map: LabelMap, plane: Plane) -> LabelMap:
    """Return the same labels with rows and columns running as those of `plane`; a view."""
    grid = label_map.geometry
    voxels = np.linalg.inv(grid.affine) @ plane.affine[:, :2]  # per row, per column
    rows, columns = (int(axis) for axis in np.abs(voxels[:3]).argmax(axis=0))
    if rows == columns:
        raise SegMismatch("rows and columns of the SEG do not run along the label map's")
    axes = (3 - rows - columns, rows, columns)
    signs = [1, int(np.sign(voxels[rows, 0])), int(np.sign(voxels[columns, 1]))]
    labels = label_map.labels.transpose(axes)[tuple(slice(None, None, sign) for sign in signs)]
    first = [0 if sign > 0 else size - 1 for sign, size in zip(signs, labels.shape, strict=True)]
    affine = grid.affine[:, [*axes, 3]] * [*signs, 1]
    affine[:, 3] += affine[:, :3] @ -np.array(first)
    return LabelMap(
        labels, Geometry(labels.shape, affine, grid.frame_of_reference, grid.slice_places)
    )


def slice_at(label_map: LabelMap, plane: Plane) -> int:
    """Return which slice of `label_map`, as `facing` turned it, lies in `plane`.

    Raises:
        SegMismatch: the pixels of `plane` are not those of a slice.
    """
    slices, *shape = label_map.geometry.shape
    corners = (np.linalg.inv(label_map.geometry.affine) @ plane.corners())[:3]
    places = np.array(label_map.geometry.slice_places or range(slices))
    index = int(np.abs(places - corners[0, 0]).argmin())
    on_grid = [[places[index]] * 3, [0, plane.shape[0] - 1, 0], [0, 0, plane.shape[1] - 1]]
    off_grid = float(np.abs(corners - on_grid).max())
    if plane.shape != tuple(shape) or off_grid > TOLERANCE_VOXELS:
        raise SegMismatch(
            f"plane of {plane.shape} pixels at {plane.affine[:3, 2]} mm is no slice of the label"
            f" map, {label_map.geometry.shape} voxels; the nearest, {index}, is {off_grid:.2f}"
            " voxels away"
        )
    return index
