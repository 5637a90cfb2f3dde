"""Stack the slices of one CT series into one volume."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_node.decoding.bounds import require_bounded_volume
from dicom_node.decoding.stream import BrokenStream
from dicom_node.errors import UnsupportedSeries
from dicom_node.series.frames import Frame
from dicom_node.series.hounsfield import hounsfield
from dicom_node.series.reading import pixels_at_hand
from dicom_node.series.slice_positions import axes_of, is_even, places_of, tilt_degrees, usual_step
from dicom_node.series.stacks import Stack, find_stacks
from engine.volume import Geometry, Volume

Pixel = TypeVar("Pixel", np.int16, np.uint8)


def to_volume(instances: Sequence[Dataset]) -> Volume:
    """Stack the instances of one series, in any order, into a volume.

    Returns:
        Hounsfield units from -1024 to 3071; (slice, row, column) running to the head, the back
        and the left. Slices are the series' own, turned by right angles at most.

    Raises:
        UnsupportedSeries: the slices form no stack that is segmented, or several (the message names
            what they form and the residual in mm), or their pixels cannot be read.
    """
    return stack_volume(find_stacks(instances).only())


def stack_volume(stack: Stack) -> Volume:
    """Read the pixels of a stack; see `to_volume`.

    The geometry of a tilted gantry has the sheared step between slices, and that of uneven or
    missing slices has the place of each slice, so that volumes are those of the patient.

    Raises:
        UnsupportedSeries: pixels cannot be read.
    """
    grid = _oriented(stack.frames)
    try:
        require_bounded_volume(grid.geometry.shape, grid.geometry.affine)
    except BrokenStream as error:
        raise UnsupportedSeries(str(error)) from error
    hu = np.empty(grid.geometry.shape, np.int16)
    planes = zip(hu, grid.frames, strict=True)
    for _, of_instance in groupby(planes, key=lambda each: id(each[1].instance)):
        slices = list(of_instance)
        with pixels_at_hand(slices[0][1].instance):  # once for all frames of an instance
            for plane, frame in slices:
                plane[...] = grid.turned(hounsfield(frame))
    return Volume(hu, grid.geometry)


def volume_frames(instances: Sequence[Dataset]) -> tuple[Frame, ...]:
    """Return the frame that each plane of `to_volume(instances)` comes from, foot to head.

    Raises:
        UnsupportedSeries: as `to_volume`, but for the pixels.
    """
    return _oriented(find_stacks(instances).only().frames).frames


def stack_drawn(
    instances: Sequence[Dataset], pictures: Sequence[NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Stack what was drawn on the pixels of each instance, so that it lies on `to_volume`'s grid.

    Args:
        instances: single-frame instances of one series, in any order.
        pictures: (rows, columns) of each, in the same order.

    Raises:
        UnsupportedSeries: as `to_volume`, but for the pixels; or a picture has another shape, or
            there is not one for each instance.
    """
    if len(pictures) != len(instances):
        raise UnsupportedSeries(
            f"{len(pictures)} slices were drawn on, and {len(instances)} were read; leave out those"
            " that are there twice or cannot be read"
        )
    grid = _oriented(find_stacks(instances).only().frames)
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


def _oriented(frames: Sequence[Frame]) -> _Grid:
    """Turn the grid of the instances to the one that runs to the head, the back and the left.

    highdicom's `VolumeGeometry` turns upright grids in the same way; it refuses a sheared one.
    """
    along = places_of(frames)[:, 0]
    order = np.argsort(along, kind="stable")
    first = frames[order[0]]
    rows, columns = (int((first.numbers(each, 1) or (0,))[0]) for each in ("Rows", "Columns"))
    step, places = _slices(frames)
    spacing = first.numbers("PixelSpacing", 2) or ()
    steps = np.stack([step, *(axes_of(frames[0])[1:] * np.reshape(spacing, (2, 1)))])
    origin = np.array(first.numbers("ImagePositionPatient", 3))

    shape = (len(frames), rows, columns)
    down, across = steps[1:]
    # Rows of the volume follow y, to the back. The instances' columns may do that instead.
    crossed = bool(abs(down[1]) < abs(across[1]))
    turn = [0, 2, 1] if crossed else [0, 1, 2]
    steps, shape = steps[turn], (shape[0], shape[turn[1]], shape[turn[2]])
    # Head, back and left are +z, +y and +x in LPS (PS3.3 C.7.6.2.1.1).
    signs = [1 if step[axis] > 0 else -1 for step, axis in zip(steps, (2, 1, 0), strict=True)]
    reach = (places[-1] if places else shape[0] - 1, shape[1] - 1, shape[2] - 1)
    for sign, step, most in zip(signs, steps, reach, strict=True):
        # An axis that is turned round begins at its other end.
        origin = origin if sign > 0 else origin + step * most

    affine = np.eye(4)
    affine[:3, :3] = (steps * np.reshape(signs, (3, 1))).T + 0.0  # no -0.0
    affine[:3, 3] = origin
    if places and signs[0] < 0:
        places = tuple(places[-1] - place for place in reversed(places))
    geometry = Geometry(shape, affine, first.text("FrameOfReferenceUID"), places)
    ordered = tuple(frames[index] for index in order[:: signs[0]])
    return _Grid(ordered, geometry, crossed, (signs[1], signs[2]))


def _slices(frames: Sequence[Frame]) -> tuple[NDArray[np.float64], tuple[float, ...] | None]:
    """Return the step from slice to slice in LPS millimetres, and where each slice lies in steps.

    No places where the slices are even: they lie at 0, 1, 2 and so on.
    """
    places = places_of(frames)
    ordered = places[np.argsort(places[:, 0], kind="stable")]
    reach = ordered[-1] - ordered[0]
    even = is_even(places)
    spacing = reach[0] / (len(frames) - 1) if even else usual_step(places)
    lean = reach[1:] / reach[0] if tilt_degrees(places) else np.zeros(2)
    step = np.array([1.0, *lean]) * spacing @ axes_of(frames[0])
    along = (ordered[:, 0] - ordered[0, 0]) / spacing
    return step, None if even else tuple(map(float, along))
