"""Where the slices of a series lie to one another, and what they form by that."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dicom_node.series.frames import Frame
from dicom_node.series.kinds import Classification, SeriesKind

Floats = NDArray[np.float64]

TOLERANCE_MM = 0.1
"""How far a slice of a regular stack may be from its place: scanners round positions to this."""
COSINE_TOLERANCE = 2e-4
"""How far the direction cosines of slices in one stack may differ: 0.1 mm over 500 mm, which is
what a SEG, whose frames share one orientation, may lie off its sources."""
UPRIGHT_DEGREES = 1.0
"""Up to here a stack counts as following the axes of the patient."""
OBLIQUE_DEGREES = 30.0
"""From here on a slice is no axial slice any more; gantries tilt no further either."""
STACKED_BY = ("StackID", "TemporalPositionIndex", "TemporalPositionIdentifier", "AcquisitionNumber")
"""Attributes that tell stacks of one series apart."""


def place_slices(frames: Sequence[Frame]) -> Classification:
    """Return what slices with sound headers form by where they lie."""
    checks = (
        _single,
        _mixed_orientations,
        _reformatted,
        _duplicate,
        _ambiguous,
        _tilted,
        _off_axis,
        _gaps,
    )
    places = places_of(frames)
    if found := next(filter(None, (check(frames, places) for check in checks)), None):
        return found
    return _even(frames, places)


def axes_of(frame: Frame) -> Floats:
    """(3, 3) orthonormal; as rows, the directions of the stack, a column and a row of pixels.

    The stack's direction is the normal of the slice, the cross product of row and column
    directions as ImageOrientationPatient has them.
    """
    row, column = np.reshape(frame.numbers("ImageOrientationPatient", 6) or (), (2, 3))
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)
    row = row / np.linalg.norm(row)
    return np.stack([normal, np.cross(normal, row), row])


def places_of(frames: Sequence[Frame]) -> Floats:
    """(n, 3) millimetres of each slice's first pixel along `axes_of` the first frame."""
    positions = np.array([frame.numbers("ImagePositionPatient", 3) for frame in frames])
    return np.asarray(positions @ axes_of(frames[0]).T)


def residual_mm(places: Floats) -> float:
    """Largest distance from the even stack, straight up from the first slice to the last."""
    ordered = places[np.argsort(places[:, 0], kind="stable")]
    ideal = np.tile(ordered[0], (len(ordered), 1))
    ideal[:, 0] = np.linspace(ordered[0, 0], ordered[-1, 0], len(ordered))
    return float(np.linalg.norm(ordered - ideal, axis=1).max())


def _single(frames: Sequence[Frame], places: Floats) -> Classification | None:
    if len(frames) > 1:
        return None
    return Classification(SeriesKind.SINGLE_SLICE, 0.0, f"only {frames[0].name}")


def _mixed_orientations(frames: Sequence[Frame], places: Floats) -> Classification | None:
    cosines = np.array([frame.numbers("ImageOrientationPatient", 6) for frame in frames])
    others = np.count_nonzero(np.abs(cosines - cosines[0]).max(axis=1) > COSINE_TOLERANCE)
    detail = f"{others} of {len(frames)} slices are oriented unlike the first"
    return _found(SeriesKind.SEVERAL_STACKS, places, detail) if others else None


def _reformatted(frames: Sequence[Frame], places: Floats) -> Classification | None:
    degrees = _degrees(frames[0])
    detail = f"slices lie {degrees:.1f} degrees off the axes of the patient"
    return _found(SeriesKind.REFORMATTED, places, detail) if degrees > OBLIQUE_DEGREES else None


def _duplicate(frames: Sequence[Frame], places: Floats) -> Classification | None:
    order = np.lexsort((places[:, 2], places[:, 1], places[:, 0].round(2)))
    steps = np.linalg.norm(np.diff(places[order], axis=0), axis=1)
    same = np.flatnonzero(steps <= TOLERANCE_MM)
    if not len(same):
        return None
    if stacks := _stacks(frames, places):
        return _found(SeriesKind.SEVERAL_STACKS, places, stacks)
    first, second = (frames[order[index]].name for index in (same[0], same[0] + 1))
    detail = f"{len(same)} of {len(frames)} slices lie where another is, as {first} and {second}"
    return _found(SeriesKind.DUPLICATE_POSITIONS, places, detail)


def _ambiguous(frames: Sequence[Frame], places: Floats) -> Classification | None:
    repeated = len(frames) - len({(frame.text("SOPInstanceUID"), frame.number) for frame in frames})
    detail = f"{repeated} of {len(frames)} slices share the SOPInstanceUID of another elsewhere"
    return _found(SeriesKind.INCOMPLETE, places, detail) if repeated else None


def _tilted(frames: Sequence[Frame], places: Floats) -> Classification | None:
    """Slices pushed sideways, all in proportion to how far along they lie.

    GantryDetectorTilt (0018,1120) is not asked: it is "not intended for mathematical
    computations" (PS3.3 C.8.2.1), and stays behind in series whose tilt was taken out.
    """
    along = places[:, 0] - places[:, 0].mean()
    sideways = places[:, 1:] - places[:, 1:].mean(axis=0)
    slope = along @ sideways / max(along @ along, TOLERANCE_MM)
    straight = np.abs(sideways - np.outer(along, slope)).max() <= TOLERANCE_MM
    degrees = float(np.degrees(np.arctan(np.linalg.norm(slope))))
    if not straight or _sideways_mm(places) <= TOLERANCE_MM or degrees > OBLIQUE_DEGREES:
        return None
    detail = f"slices are stacked {degrees:.2f} degrees off their perpendicular"
    return _found(SeriesKind.TILTED_GANTRY, places, detail)


def _off_axis(frames: Sequence[Frame], places: Floats) -> Classification | None:
    wide = _sideways_mm(places)
    detail = f"slices lie up to {wide:.3f} mm beside the first"
    return _found(SeriesKind.SEVERAL_STACKS, places, detail) if wide > TOLERANCE_MM else None


def _gaps(frames: Sequence[Frame], places: Floats) -> Classification | None:
    if residual_mm(places) <= TOLERANCE_MM:
        return None
    if stacks := _stacks(frames, places):
        return _found(SeriesKind.SEVERAL_STACKS, places, stacks)
    steps = np.diff(np.sort(places[:, 0]))
    usual = np.median(steps)
    odd = np.count_nonzero(np.abs(steps - usual) > TOLERANCE_MM)
    detail = (
        f"{odd} of {len(steps)} steps between slices differ from the usual {usual:.3f} mm; "
        f"they go from {steps.min():.3f} to {steps.max():.3f} mm"
    )
    return _found(SeriesKind.GAPS, places, detail)


def _even(frames: Sequence[Frame], places: Floats) -> Classification:
    degrees = _degrees(frames[0])
    kind = SeriesKind.REGULAR if degrees <= UPRIGHT_DEGREES else SeriesKind.OBLIQUE
    spacing = np.ptp(places[:, 0]) / (len(places) - 1)
    detail = f"{len(frames)} slices {spacing:.3f} mm apart"
    if kind is SeriesKind.OBLIQUE:
        detail += f", {degrees:.1f} degrees off the axes of the patient"
    return _found(kind, places, detail)


def _found(kind: SeriesKind, places: Floats, detail: str) -> Classification:
    return Classification(kind, residual_mm(places), detail)


def _degrees(frame: Frame) -> float:
    """Largest angle between an axis of the stack and the axis of the patient that it stands for.

    The normal stands for the long axis: a coronal slice is at 90 degrees.
    """
    normal, *within = np.abs(axes_of(frame))
    cosine = min(normal[2], *(direction[:2].max() for direction in within))
    return float(np.degrees(np.arccos(min(cosine, 1.0))))


def _sideways_mm(places: Floats) -> float:
    first = places[places[:, 0].argmin(), 1:]
    return float(np.linalg.norm(places[:, 1:] - first, axis=1).max())


def _stacks(frames: Sequence[Frame], places: Floats) -> str:
    """What tells apart the even stacks that the slices fall into, or nothing if they do not."""
    for keyword in STACKED_BY:
        values = np.array([frame.text(keyword) for frame in frames])
        stacks = [places[values == value] for value in np.unique(values)]
        if len(stacks) > 1 and all(
            len(stack) > 2 and residual_mm(stack) <= TOLERANCE_MM for stack in stacks
        ):
            return f"{len(stacks)} even stacks, told apart by {keyword}"
    return ""
