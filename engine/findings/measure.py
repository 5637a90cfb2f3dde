"""Measurements of a label map: the liver and every lesion in it.

Results are deterministic: the same labels on the same volume give the same numbers, with lesions in
the same order.
"""

import math
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from engine.errors import TooManyLesions
from engine.findings.diameters import Diameters, Line, diameters
from engine.segmentation.cleaning import FACES, box_of
from engine.volume import Geometry, Label, LabelMap, Volume, millilitres

Box = tuple[slice, slice, slice]

MOST_LESIONS = 65534
"""A segment number has 16 bits (PS3.3 C.8.20.2), and the liver takes one."""


@dataclass(frozen=True)
class Region:
    """Size and density of a marked region."""

    volume_ml: float
    mean_hu: float
    sd_hu: float
    """Standard deviation over its voxels."""


Point = tuple[float, float, float]
"""Millimetres in DICOM's LPS frame."""
Axis = tuple[Point, Point]
"""Both ends of a diameter."""


@dataclass(frozen=True)
class Axes:
    """The two diameters of the liver in the slice that shows most of it."""

    longest_mm: float
    perpendicular_mm: float
    """The longest diameter perpendicular to it, in the same slice."""
    ends: tuple[Axis, Axis]
    """Ends of the two diameters."""


@dataclass(frozen=True)
class Lesion:
    """One 6-connected component of tumour voxels."""

    number: int
    """From 1, largest first."""
    region: Region
    centre: Point
    """Centroid of its voxels."""
    slices: tuple[int, int]
    """First and last slice that contain it."""
    longest_mm: float
    """The longest diameter in any one slice."""
    perpendicular_mm: float
    """The longest diameter perpendicular to it, in the same slice."""
    axes: tuple[Axis, Axis]
    """Ends of the two diameters."""


@dataclass(frozen=True)
class Measurements:
    """Measurements of one volume."""

    liver_ml: float
    """Volume of the liver including tumours."""
    liver: Region | None
    """The liver excluding tumours; None if it is all tumour."""
    lesions: tuple[Lesion, ...]
    liver_axes: Axes | None = None
    """Of the liver without the tumours in it."""
    whole_axes: Axes | None = None
    """Of the liver with the tumours in it."""

    @property
    def tumour_ml(self) -> float:
        """Total volume of the lesions."""
        return sum(lesion.region.volume_ml for lesion in self.lesions)

    @property
    def burden_percent(self) -> float:
        """Percentage of the liver that is tumour."""
        return 100 * self.tumour_ml / self.liver_ml if self.liver_ml else 0.0


def measure(volume: Volume, label_map: LabelMap) -> Measurements:
    """Measure the liver and every lesion.

    Diameters are measured within the slices of the volume, whatever their orientation.
    """
    box = box_of(label_map.labels)
    if box is None:
        return Measurements(0.0, None, ())
    # All that follows looks at the liver's box only, a small part of the volume.
    labels, hu = label_map.labels[box], volume.hu[box]
    corner = np.array([each.start for each in box])
    numbers = _number(labels == Label.TUMOUR)
    liver = hu[labels == Label.LIVER]
    grid, first = volume.geometry, int(corner[0])
    return Measurements(
        liver_ml=millilitres(labels > 0, grid, first),
        liver=_region(liver, millilitres(labels == Label.LIVER, grid, first))
        if len(liver)
        else None,
        lesions=tuple(
            _lesion(number, numbers[around] == number, hu[around], _placed(around, corner), volume)
            for number, around in enumerate(_boxes(numbers), start=1)
        ),
        liver_axes=_liver_axes(labels == Label.LIVER, corner, volume.geometry),
        whole_axes=_liver_axes(labels > 0, corner, volume.geometry),
    )


def _liver_axes(mask: NDArray[np.bool_], corner: NDArray[np.int_], grid: Geometry) -> Axes | None:
    """Return the diameters in one slice only: those of all slices take a second."""
    area = np.count_nonzero(mask, axis=(1, 2))
    if not area.any():
        return None
    index = int(area.argmax())
    found, shown = diameters(mask[index], grid.spacing[1:]), corner + np.array([index, 0, 0])
    ends = _axis(grid, found.longest, shown), _axis(grid, found.perpendicular, shown)
    return Axes(found.longest.mm, found.perpendicular.mm, ends)


def number_lesions(label_map: LabelMap) -> NDArray[np.uint16]:
    """Return the lesion number of each voxel: 1 for the largest lesion, 0 outside of lesions.

    Lesions of equal size are numbered in slice order.
    """
    numbers = np.zeros(label_map.labels.shape, np.uint16)
    if (box := box_of(label_map.labels)) is not None:
        numbers[box] = _number(label_map.labels[box] == Label.TUMOUR)
    return numbers


def separate_lesions(label_map: LabelMap) -> LabelMap:
    """Return labels with 1 for the liver and the lesion number plus 1 for each lesion.

    The labels are 8 bits wide as long as that holds all lesions, else 16.

    Raises:
        TooManyLesions: there are more lesions than a segmentation object can number.
    """
    numbers = number_lesions(label_map)
    # Lesion n gets the label n + 1, since 1 is the liver.
    most = int(numbers.max(initial=0)) + Label.LIVER
    width: Any = np.uint8 if most <= np.iinfo(np.uint8).max else np.uint16
    labels = np.where(numbers > 0, numbers + np.uint16(Label.LIVER), label_map.labels)
    return LabelMap(labels.astype(width), label_map.geometry)


def _number(tumour: NDArray[np.bool_]) -> NDArray[np.uint16]:
    pieces, count = cc3d.connected_components(
        tumour, connectivity=FACES, binary_image=True, return_N=True
    )
    if count > MOST_LESIONS:
        raise TooManyLesions(
            f"{count} separate pieces of tumour, {MOST_LESIONS} can be numbered; no liver has so"
            " many: look at the series for noise"
        )
    found, first, sizes = np.unique(pieces[tumour], return_index=True, return_counts=True)
    rank = np.zeros(count + 1, np.uint16)
    # lexsort's last key counts first: by size, then by position.
    rank[found[np.lexsort((first, -sizes))]] = np.arange(1, count + 1)
    numbers: NDArray[np.uint16] = rank[pieces]
    return numbers


def _boxes(numbers: NDArray[np.uint16]) -> list[Box]:
    """Return the bounding box of each lesion, in order of number."""
    if not numbers.any():
        return []
    # Entry 0 is the background's.
    boxes: list[Box] = cc3d.statistics(numbers)["bounding_boxes"][1:]
    return boxes


def _placed(box: Box, corner: NDArray[np.int_]) -> NDArray[np.int_]:
    """Return the first voxel of a box, given relative to `corner`, in the whole volume."""
    first: NDArray[np.int_] = corner + [each.start for each in box]
    return first


def _lesion(
    number: int,
    mask: NDArray[np.bool_],
    hu: NDArray[np.int16],
    corner: NDArray[np.int_],
    volume: Volume,
) -> Lesion:
    """Measure one lesion; its bounding box starts at voxel `corner` of the volume."""
    grid = volume.geometry
    first, (widest, found) = int(corner[0]), _widest(mask, grid.spacing[1:])
    shown = corner + np.array([widest, 0, 0])
    return Lesion(
        number,
        _region(hu[mask], millilitres(mask, grid, first)),
        _point(grid, np.argwhere(mask).mean(axis=0) + corner),
        (first, first + len(mask) - 1),
        found.longest.mm,
        found.perpendicular.mm,
        (_axis(grid, found.longest, shown), _axis(grid, found.perpendicular, shown)),
    )


def _axis(grid: Geometry, line: Line, corner: NDArray[np.int_]) -> Axis:
    """Place a line of a slice of a box, which begins at voxel `corner`, in the patient."""
    return (
        _point(grid, np.array([0, *line.start]) + corner),
        _point(grid, np.array([0, *line.end]) + corner),
    )


def _point(grid: Geometry, voxel: NDArray[np.float64]) -> Point:
    x, y, z = (grid.affine @ [grid.place(voxel[0]), *voxel[1:], 1])[:3]
    return float(x), float(y), float(z)


def _widest(mask: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> tuple[int, Diameters]:
    """Return the slice where the longest diameter is, the first of equals, and its diameters."""
    found = [diameters(plane, spacing_mm) for plane in mask]
    # Rounded, so that equal diameters do not depend on the processor's last bits.
    widest = max(range(len(found)), key=lambda index: round(found[index].longest.mm, 6))
    return widest, found[widest]


def _region(hu: NDArray[np.int16], volume_ml: float) -> Region:
    return Region(
        volume_ml=volume_ml,
        mean_hu=float(hu.mean(dtype=np.float64)),
        sd_hu=math.sqrt(hu.var(dtype=np.float64)),
    )
