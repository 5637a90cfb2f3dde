"""What a label map says in numbers: the liver, and every lesion in it.

Nothing here changes with the order in which pieces are found: the same labels on the same volume
give the same numbers, and the lesions in the same order.
"""

import math
from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray

from engine.findings.diameters import Diameters, diameters
from engine.segmentation.cleaning import FACES, box_of
from engine.volume import Geometry, Label, LabelMap, Volume

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Region:
    """The size and the density of what was marked."""

    volume_ml: float
    mean_hu: float
    sd_hu: float
    """Standard deviation over all of its voxels."""


Point = tuple[float, float, float]
"""Millimetres in DICOM's LPS frame."""


@dataclass(frozen=True)
class Lesion:
    """One piece of tumour: voxels that share faces."""

    number: int
    """From 1, the largest first."""
    region: Region
    centre: Point
    """Mean of its voxels."""
    slices: tuple[int, int]
    """First and last slice that show it."""
    longest_mm: float
    """The longest diameter in any one slice."""
    perpendicular_mm: float
    """The longest at a right angle to it, in the same slice."""


@dataclass(frozen=True)
class Measurements:
    """What was measured in one volume."""

    liver_ml: float
    """With the tumours in it."""
    liver: Region | None
    """Without the tumours in it; none where the tumours are all of it."""
    lesions: tuple[Lesion, ...]

    @property
    def tumour_ml(self) -> float:
        """Volume of all lesions."""
        return sum(lesion.region.volume_ml for lesion in self.lesions)

    @property
    def burden_percent(self) -> float:
        """Part of the liver that is tumour."""
        return 100 * self.tumour_ml / self.liver_ml if self.liver_ml else 0.0


def measure(volume: Volume, label_map: LabelMap) -> Measurements:
    """Measure the liver and every lesion.

    Diameters lie in the slices of the volume, which are axial unless the scanner's were not.
    """
    box = box_of(label_map.labels)
    if box is None:
        return Measurements(0.0, None, ())
    labels, hu = label_map.labels[box], volume.hu[box]
    corner = np.array([each.start for each in box])
    numbers = _number(labels == Label.TUMOUR)
    liver = hu[labels == Label.LIVER]
    voxel_ml = volume.geometry.voxel_ml
    return Measurements(
        liver_ml=float(np.count_nonzero(labels) * voxel_ml),
        liver=_region(liver, voxel_ml) if len(liver) else None,
        lesions=tuple(
            _lesion(number, numbers[around] == number, hu[around], _placed(around, corner), volume)
            for number, around in enumerate(_boxes(numbers), start=1)
        ),
    )


def number_lesions(label_map: LabelMap) -> NDArray[np.uint16]:
    """Return each voxel's lesion, from 1 for the largest; 0 where there is no tumour.

    Lesions of one size follow one another from the first slice on.
    """
    numbers = np.zeros(label_map.labels.shape, np.uint16)
    if (box := box_of(label_map.labels)) is not None:
        numbers[box] = _number(label_map.labels[box] == Label.TUMOUR)
    return numbers


def separate_lesions(label_map: LabelMap) -> LabelMap:
    """Return the same voxels with 1 for the liver, and the number of its lesion plus 1 for tumour.

    There are 254 values for lesions; should there be more, the smallest share the last.
    """
    numbers = number_lesions(label_map)
    own = np.minimum(numbers + np.uint16(Label.LIVER), 255).astype(np.uint8)
    labels = np.where(numbers > 0, own, label_map.labels)
    return LabelMap(labels, label_map.geometry)


def _number(tumour: NDArray[np.bool_]) -> NDArray[np.uint16]:
    pieces, count = cc3d.connected_components(
        tumour, connectivity=FACES, binary_image=True, return_N=True
    )
    found, first, sizes = np.unique(pieces[tumour], return_index=True, return_counts=True)
    rank = np.zeros(count + 1, np.uint16)
    rank[found[np.lexsort((first, -sizes))]] = np.arange(1, count + 1)
    numbers: NDArray[np.uint16] = rank[pieces]
    return numbers


def _boxes(numbers: NDArray[np.uint16]) -> list[Box]:
    """Return the box around each lesion, in their order."""
    if not numbers.any():
        return []
    boxes: list[Box] = cc3d.statistics(numbers)["bounding_boxes"][1:]
    return boxes


def _placed(box: Box, corner: NDArray[np.int_]) -> NDArray[np.int_]:
    """Return the first voxel of a box within a box that begins at `corner`."""
    first: NDArray[np.int_] = corner + [each.start for each in box]
    return first


def _lesion(
    number: int,
    mask: NDArray[np.bool_],
    hu: NDArray[np.int16],
    corner: NDArray[np.int_],
    volume: Volume,
) -> Lesion:
    """Measure the lesion whose box begins at voxel `corner` of the volume."""
    grid = volume.geometry
    first, found = int(corner[0]), _widest(mask, grid.spacing[1:])
    return Lesion(
        number,
        _region(hu[mask], grid.voxel_ml),
        _point(grid, np.argwhere(mask).mean(axis=0) + corner),
        (first, first + len(mask) - 1),
        found.longest.mm,
        found.perpendicular.mm,
    )


def _point(grid: Geometry, voxel: NDArray[np.float64]) -> Point:
    x, y, z = (grid.affine @ [*voxel, 1])[:3]
    return float(x), float(y), float(z)


def _widest(mask: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> Diameters:
    """Return the diameters in the slice where the longest is; in the first of equals."""
    return max(
        (diameters(plane, spacing_mm) for plane in mask),
        key=lambda found: round(found.longest.mm, 6),
    )


def _region(hu: NDArray[np.int16], voxel_ml: float) -> Region:
    return Region(
        volume_ml=len(hu) * voxel_ml,
        mean_hu=float(hu.mean(dtype=np.float64)),
        sd_hu=math.sqrt(hu.var(dtype=np.float64)),
    )
