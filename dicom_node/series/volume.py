"""Read the files of one CT series and stack them into one volume."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from dicom_node.decoding.bounds import require_bounded_volume
from dicom_node.decoding.file_bounds import require_bounded_file
from dicom_node.decoding.stream import BrokenStream
from dicom_node.errors import UNREADABLE, UnsupportedSeries
from dicom_node.series.classify import Handling, classify_frames
from dicom_node.series.frame_of_reference import (
    derived_frame_of_reference,
    lacks_frame_of_reference,
)
from dicom_node.series.frames import Frame, frames_of, is_multi_frame
from dicom_node.series.hounsfield import hounsfield
from dicom_node.series.slice_positions import axes_of, places_of
from engine.volume import Geometry, Volume

Pixel = TypeVar("Pixel", np.int16, np.uint8)


def read_series(
    paths: Iterable[Path], *, derive_frame_of_reference: bool = False, pixels: bool = True
) -> list[Dataset]:
    """Read the instances of one series.

    Args:
        paths: files in DICOM Part 10 format.
        pixels: all of them now; otherwise `to_volume` reads those of single-frame instances one
            by one, which takes half of the memory.
        derive_frame_of_reference: give the instances a frame of reference made from their
            series UID if none of them has one; `has_derived_frame_of_reference` tells later.

    Raises:
        UnsupportedSeries: a file is no DICOM, or breaks off within an attribute.
    """
    instances = [_read(path) if pixels else _read_header(path) for path in paths]
    if derive_frame_of_reference and lacks_frame_of_reference(instances):
        for instance in instances:
            series_uid = str(instance.get("SeriesInstanceUID") or "")
            instance.FrameOfReferenceUID = derived_frame_of_reference(series_uid)
    return instances


def to_volume(instances: Sequence[Dataset]) -> Volume:
    """Stack the instances of one series, in any order, into a volume.

    Returns:
        Hounsfield units from -1024 to 3071; (slice, row, column) running to the head, the back
        and the left. Slices are the series' own, turned by right angles at most.

    Raises:
        UnsupportedSeries: the slices form no stack that is segmented (the message names what
            they form and the residual in mm), or their pixels cannot be read.
    """
    grid = _grid(instances)
    try:
        require_bounded_volume(grid.geometry.shape, grid.geometry.affine)
    except BrokenStream as error:
        raise UnsupportedSeries(str(error)) from error
    hu = np.empty(grid.geometry.shape, np.int16)
    for plane, frame in zip(hu, grid.frames, strict=True):
        with _pixels_at_hand(frame.instance):
            plane[...] = grid.turned(hounsfield(frame))
    return Volume(hu, grid.geometry)


def volume_frames(instances: Sequence[Dataset]) -> tuple[Frame, ...]:
    """Return the frame that each plane of `to_volume(instances)` comes from, foot to head.

    Raises:
        UnsupportedSeries: as `to_volume`, but for the pixels.
    """
    return _grid(instances).frames


def stack_drawn(
    instances: Sequence[Dataset], pictures: Sequence[NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Stack what was drawn on the pixels of each instance, so that it lies on `to_volume`'s grid.

    Args:
        instances: single-frame instances of one series, in any order.
        pictures: (rows, columns) of each, in the same order.

    Raises:
        UnsupportedSeries: as `to_volume`, but for the pixels; or a picture has another shape.
    """
    grid = _grid(instances)
    drawn = {id(one): picture for one, picture in zip(instances, pictures, strict=True)}
    stacked = np.empty(grid.geometry.shape, np.uint8)
    for plane, frame in zip(stacked, grid.frames, strict=True):
        picture = grid.turned(drawn[id(frame.instance)])
        if picture.shape != plane.shape:
            raise UnsupportedSeries(
                f"what was drawn on {frame.name} has {picture.shape} pixels, "
                f"the slice {plane.shape}"
            )
        plane[...] = picture
    return stacked


@dataclass(frozen=True, eq=False)
class _Grid:
    frames: tuple[Frame, ...]
    geometry: Geometry
    crossed: bool
    """Rows of the instances are columns of the volume."""
    flips: tuple[int, int]
    """Steps, 1 or -1, along the rows and columns of the volume."""

    def turned(self, stored: NDArray[Pixel]) -> NDArray[Pixel]:
        upright = stored.T if self.crossed else stored
        return upright[:: self.flips[0], :: self.flips[1]]


def _grid(instances: Sequence[Dataset]) -> _Grid:
    frames = frames_of(instances)
    found = classify_frames(frames)
    if found.kind.answer is Handling.REFUSE:
        raise UnsupportedSeries(str(found))
    return _oriented(frames)


def _oriented(frames: Sequence[Frame]) -> _Grid:
    """Turn the grid of the instances to the one that runs to the head, the back and the left."""
    along = places_of(frames)[:, 0]
    order = np.argsort(along, kind="stable")
    first = frames[order[0]]
    rows, columns = (int(first.header[keyword].value) for keyword in ("Rows", "Columns"))
    spacing = [np.ptp(along) / (len(frames) - 1), *(first.numbers("PixelSpacing", 2) or ())]
    steps = axes_of(frames[0]) * np.reshape(spacing, (3, 1))  # one voxel on, as rows of a matrix
    origin = np.array(first.numbers("ImagePositionPatient", 3))

    shape = (len(frames), rows, columns)
    down, across = steps[1:]
    crossed = bool(abs(down[1]) < abs(across[1]))
    turn = [0, 2, 1] if crossed else [0, 1, 2]
    steps, shape = steps[turn], (shape[0], shape[turn[1]], shape[turn[2]])
    signs = [1 if step[axis] > 0 else -1 for step, axis in zip(steps, (2, 1, 0), strict=True)]
    for sign, step, size in zip(signs, steps, shape, strict=True):
        origin = origin if sign > 0 else origin + step * (size - 1)

    affine = np.eye(4)
    affine[:3, :3] = (steps * np.reshape(signs, (3, 1))).T + 0.0  # no -0.0
    affine[:3, 3] = origin
    geometry = Geometry(shape, affine, first.text("FrameOfReferenceUID"))
    ordered = tuple(frames[index] for index in order[:: signs[0]])
    return _Grid(ordered, geometry, crossed, (signs[1], signs[2]))


@contextmanager
def _pixels_at_hand(instance: Dataset) -> Iterator[None]:
    """Let an instance that was read without its pixels have them while the block lasts."""
    file = getattr(instance, "filename", None)
    if "PixelData" in instance or not file:
        yield
        return
    whole = _read(Path(file), specific_tags=["PixelData"])
    if "PixelData" in whole:
        instance["PixelData"] = whole["PixelData"]
    try:
        yield
    finally:
        instance.pop("PixelData", None)


def _read_header(path: Path) -> Dataset:
    header = _read(path, stop_before_pixels=True)
    return _read(path) if is_multi_frame(header) else header


def _read(path: Path, **options: Any) -> Dataset:
    try:
        require_bounded_file(path)
        return dcmread(path, **options)
    except (InvalidDicomError, *UNREADABLE) as error:
        raise UnsupportedSeries(
            f"{path} is no whole DICOM file: {error}; send the instance again"
        ) from error
