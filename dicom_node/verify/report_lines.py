"""Proof that the diameters of a report are drawn where they were measured."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_node.errors import ResultMismatch
from dicom_node.verify.lesions import FIRST_LESION, LIVER, lesion_values
from dicom_node.verify.planes import Plane, facing, planes_of, slice_at
from dicom_node.verify.report_groups import LONG_AXIS, SHORT_AXIS, Group, Line
from engine.volume import LabelMap

LENGTH_MM = 0.01
"""Largest difference of a line's length from its number; both are rounded."""
COSINE = 0.02
"""Largest cosine between the two diameters of a finding, which are perpendicular."""
BEYOND_PIXELS = 0.75
"""A diameter ends at the outer edge of a pixel, half of it from the centre, and is rounded."""

Planes = Mapping[tuple[str, int | None], Plane]


def check_lines(
    groups: Sequence[Group], label_map: LabelMap, sources: Sequence[Dataset], *, liver: bool
) -> None:
    """Return if each diameter is as long as its number and lies on the finding that it measures.

    Args:
        groups: of a report: the liver where there is one, each lesion, the whole liver.
        label_map: the labels that were measured.
        sources: the instances of the series, in any order; pixels are not needed.
        liver: whether the first group is that of the liver without its tumours.

    Raises:
        ResultMismatch: a line is missing, too long or elsewhere.
    """
    planes = {(plane.instance_uid, plane.frame): plane for plane in planes_of(sources)}
    values = facing(lesion_values(label_map), next(iter(planes.values())))
    *regions, _ = groups
    for index, group in enumerate(groups):
        where = f"measurement group {index + 1}"
        if set(group.lines) != {LONG_AXIS, SHORT_AXIS}:
            raise ResultMismatch(f"{where} has lines for {sorted(group.lines)}")
        value = index + (LIVER if liver else FIRST_LESION) if index < len(regions) else None
        _check_group(group, values, value, planes, where)


def _check_group(
    group: Group, values: LabelMap, value: int | None, planes: Planes, where: str
) -> None:
    """Hold both lines of a group against the voxels of a value, or of any where it is None."""
    directions = []
    for name in (LONG_AXIS, SHORT_AXIS):
        plane = planes.get(group.lines[name].image)
        if plane is None:
            raise ResultMismatch(f"{where} has a line on an image that is no source")
        ends = _rows_and_columns(group.lines[name])
        across = plane.affine[:3, :2] @ (ends[1] - ends[0])
        length = float(np.linalg.norm(across))
        if abs(length - group.numbers[name,]) > LENGTH_MM:
            raise ResultMismatch(
                f"{where} has a line of {length:.3f} mm for a diameter of {group.numbers[name,]}"
            )
        shown = values.labels[slice_at(values, plane)]
        _check_place(ends, shown > 0 if value is None else shown == value, where)
        directions.append(across / length)
    if abs(float(directions[0] @ directions[1])) > COSINE:
        raise ResultMismatch(f"the diameters of {where} are not perpendicular")


def _rows_and_columns(line: Line) -> NDArray[np.float64]:
    """Return (2, 2): row and column of each end, 0 at the centre of the first pixel."""
    # SCOORD counts from the corner of the first pixel (PS3.3 table C.18.6-1).
    return np.array(line.points).reshape(2, 2)[:, ::-1] - 0.5


def _check_place(ends: NDArray[np.float64], mask: NDArray[np.bool_], where: str) -> None:
    """Both ends must lie within the box around the marked pixels."""
    marked = np.argwhere(mask)
    if not len(marked):
        raise ResultMismatch(f"{where} has a line on a slice that does not show the finding")
    low, high = marked.min(axis=0) - BEYOND_PIXELS, marked.max(axis=0) + BEYOND_PIXELS
    if (ends < low).any() or (ends > high).any():
        raise ResultMismatch(f"{where} has a line that ends outside of the finding")
