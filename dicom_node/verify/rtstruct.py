"""Proof that outlines, filled again, are the label map they were drawn around.

Read from the file's own attributes, without anything of `dicom_node.results.rtstruct`.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from dicom_node.errors import ResultMismatch
from dicom_node.verify.lesions import lesion_values
from dicom_node.verify.planes import Plane, facing, planes_of, slice_at
from dicom_node.verify.subject import differing
from engine.volume import Label, LabelMap


def verify_rtstruct(file: Path | bytes, sources: Sequence[Dataset], label_map: LabelMap) -> None:
    """Return if patient and study are the sources' and each region fills to the marked voxels.

    Raises:
        ResultMismatch: names the region that differs, and where.
    """
    read = dcmread(BytesIO(file) if isinstance(file, bytes) else file)
    if keyword := differing(read, sources):
        raise ResultMismatch(
            f"{keyword} of the outlines is not the source's"
        )  # no patient in a log
    planes = {(plane.instance_uid, plane.frame): plane for plane in planes_of(sources)}
    shown = facing(lesion_values(label_map), next(iter(planes.values())))
    frame = read.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID
    if frame != label_map.geometry.frame_of_reference:
        raise ResultMismatch(f"frame of reference {frame} of the outlines is not the source's")
    found = {int(each.ReferencedROINumber) for each in read.ROIContourSequence}
    expected = {1, *np.unique(shown.labels).tolist()} - {0}
    if found != expected:
        raise ResultMismatch(f"regions {sorted(found)} are outlined, {sorted(expected)} marked")
    for region in read.ROIContourSequence:
        _check_region(int(region.ReferencedROINumber), region.ContourSequence, planes, shown)


def _check_region(
    number: int,
    outlines: Sequence[Dataset],
    planes: dict[tuple[str, int | None], Plane],
    shown: LabelMap,
) -> None:
    crossings: dict[int, NDArray[np.uint8]] = {}
    for outline in outlines:
        image = outline.ContourImageSequence[0]
        plane = planes[image.ReferencedSOPInstanceUID, image.get("ReferencedFrameNumber")]
        index = slice_at(shown, plane)
        counted = crossings.setdefault(index, np.zeros(plane.shape, np.uint8))
        _cross(_points(outline, plane), counted)
    for index, labels in enumerate(shown.labels):
        marked = labels > 0 if number == Label.LIVER else labels == number
        # Inside after an odd number of crossings. A slice that has marks and no outline differs in
        # every pixel.
        filled = np.cumsum(crossings[index], axis=1) % 2 == 1 if index in crossings else ~marked
        if index not in crossings and not marked.any():
            continue
        if wrong := np.count_nonzero(filled != marked):
            raise ResultMismatch(f"region {number} differs in slice {index} in {wrong} pixels")


def _points(outline: Dataset, plane: Plane) -> NDArray[np.float64]:
    """Return rows and columns of an outline on its plane."""
    # The raw text: pydicom would make an object of each of a million numbers.
    numbers = np.array(outline.get_item("ContourData").value.split(b"\\"), np.float64)
    places = numbers.reshape(-1, 3) - plane.affine[:3, 2]
    points: NDArray[np.float64] = (np.linalg.pinv(plane.affine[:3, :2]) @ places.T).T
    return points


def _cross(points: NDArray[np.float64], counted: NDArray[np.uint8]) -> None:
    """Count, at the first pixel centre behind it, each crossing of an outline with a row."""
    start, end = points, np.roll(points, -1, axis=0)
    low, high = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    for step in range(int(np.ceil((high - low).max())) + 1):
        row = np.ceil(low) + step
        # Half-open, so that a corner on a row is crossed by one of its two edges.
        crossed = row < high
        (r0, c0), (r1, c1), row = start[crossed].T, end[crossed].T, row[crossed]
        column = np.ceil(c0 + (row - r0) / (r1 - r0) * (c1 - c0))
        within = column < counted.shape[1]  # behind the last pixel nothing is filled
        # Not `+= 1`, which counts a pixel once where two edges cross there.
        np.add.at(counted, (row[within].astype(int), column[within].astype(int)), 1)
