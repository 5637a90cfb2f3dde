"""Positions of a stack's slices, and the kind of stack that they form.

This is the one place where the geometry of slices is derived: what is written (`results`) and read
(`volume`) takes the order and the axes from here. `verify.planes` derives them again, on purpose.
highdicom's `get_volume_positions` accepts neither a tilted gantry nor changing distances, and its
default tolerance grows with the spacing; the tests hold both to the same answer on even stacks.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dicom_node.series.frames import Frame
from dicom_node.series.kinds import Classification, SeriesKind
from dicom_node.tolerances import COSINES_OF_A_STACK, TOLERANCE_MM

Floats = NDArray[np.float64]

UPRIGHT_DEGREES = 1.0
"""Up to here a stack counts as following the axes of the patient."""
OBLIQUE_DEGREES = 30.0
"""From here on a slice is no axial slice any more; gantries tilt no further either."""
UNEVEN_RATIO = 1.5
"""Up to this multiple of the usual step a longer one is uneven spacing, not a missing slice."""
WIDEST_STEP_MM = 15.0
"""Steps wider than this are gaps, however often they occur."""


def place_slices(frames: Sequence[Frame]) -> Classification:
    """Return the kind of stack that slices with sound headers form by where they lie."""
    places = places_of(frames)
    checks = (_single, _mixed_orientations, _reformatted, _duplicate, _ambiguous, _off_axis, _gaps)
    if found := next(filter(None, (check(frames, places) for check in checks)), None):
        return found
    return _usable(frames, places)


def axes_of(frame: Frame) -> Floats:
    """(3, 3) orthonormal; as rows, the directions of the stack, a column and a row of pixels.

    The stack's direction is the normal of the slice, the cross product of row and column
    directions as ImageOrientationPatient has them.
    """
    row, column = np.reshape(frame.numbers("ImageOrientationPatient", 6) or (), (2, 3))
    normal = np.cross(row, column)
    # Headers round cosines, so neither lengths nor angles are exact.
    normal /= np.linalg.norm(normal)
    row = row / np.linalg.norm(row)
    # The column direction is made perpendicular to the row's, which is kept.
    return np.stack([normal, np.cross(normal, row), row])


def places_of(frames: Sequence[Frame]) -> Floats:
    """(n, 3) millimetres of each slice's first pixel along `axes_of` the first frame."""
    positions = np.array([frame.numbers("ImagePositionPatient", 3) for frame in frames])
    return np.asarray(positions @ axes_of(frames[0]).T)


def in_order(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """Return the slices sorted along the normal; those at one place by UID and frame number.

    Works in any order of arrival, and leaves no trace of it.
    """
    if not frames:
        return ()
    named = sorted(frames, key=lambda frame: (frame.text("SOPInstanceUID"), frame.number))
    # Rounded to a micrometre, or the last digit would order two slices at one place.
    along = places_of(named)[:, 0]
    return tuple(named[index] for index in np.argsort(along.round(3), kind="stable"))


def residual_mm(places: Floats) -> float:
    """Largest distance from the even stack, straight up from the first slice to the last."""
    ordered = places[np.argsort(places[:, 0], kind="stable")]
    ideal = np.tile(ordered[0], (len(ordered), 1))
    ideal[:, 0] = np.linspace(ordered[0, 0], ordered[-1, 0], len(ordered))
    return float(np.linalg.norm(ordered - ideal, axis=1).max())


def usual_step(places: Floats) -> float:
    """Return the median distance between neighbouring slices, in millimetres."""
    return float(np.median(np.diff(np.sort(places[:, 0]))))


def is_even(places: Floats) -> bool:
    """Return whether neighbouring slices are equally far apart, perpendicular to the slices."""
    along = np.sort(places[:, 0])
    ideal = np.linspace(along[0], along[-1], len(along))
    # Against the whole stack, not step by step: small errors of one sign would add up unseen.
    return bool(np.abs(along - ideal).max() <= TOLERANCE_MM)


def tilt_degrees(places: Floats) -> float:
    """Return by how much the stack leans off the perpendicular; 0 within the tolerance.

    GantryDetectorTilt (0018,1120) is not used: it is "not intended for mathematical computations"
    (PS3.3 C.8.2.1), and stays behind in series whose tilt was taken out.
    """
    if sideways_mm(places) <= TOLERANCE_MM:
        return 0.0
    _, slope = _lean(places)
    return float(np.degrees(np.arctan(np.linalg.norm(slope))))


def sideways_mm(places: Floats) -> float:
    """Return how far a slice lies beside the lowest one, at most, in millimetres."""
    first = places[places[:, 0].argmin(), 1:]
    return float(np.linalg.norm(places[:, 1:] - first, axis=1).max())


def unlike_the_most(frames: Sequence[Frame]) -> NDArray[np.bool_]:
    """Mark the slices that are oriented unlike the median slice of the stack, which is not marked.

    The median and not the first: one odd slice must not make all others odd.
    """
    # Sorted, so that the choice among equals is the same in whatever order the slices arrive.
    cosines = np.array([frame.numbers("ImageOrientationPatient", 6) for frame in frames])
    ordered = cosines[np.lexsort(cosines.T)]
    median = np.sort(cosines, axis=0)[len(cosines) // 2]
    # Medians of single cosines may together be an orientation that no slice has.
    typical = ordered[np.abs(ordered - median).max(axis=1).argmin()]
    unlike: NDArray[np.bool_] = np.abs(cosines - typical).max(axis=1) > COSINES_OF_A_STACK
    return unlike


def _lean(places: Floats) -> tuple[Floats, Floats]:
    """Return what is left of the sideways places after a straight line, and the line's slope."""
    along = places[:, 0] - places[:, 0].mean()
    sideways = places[:, 1:] - places[:, 1:].mean(axis=0)
    # Not by zero, where all slices lie at one place.
    slope = along @ sideways / max(along @ along, TOLERANCE_MM)
    return sideways - np.outer(along, slope), slope


def _single(frames: Sequence[Frame], places: Floats) -> Classification | None:
    if len(frames) > 1:
        return None
    return Classification(SeriesKind.SINGLE_SLICE, 0.0, f"only {frames[0].name}")


def _mixed_orientations(frames: Sequence[Frame], places: Floats) -> Classification | None:
    unlike = np.flatnonzero(unlike_the_most(frames))
    if not len(unlike):
        return None
    names = ", ".join(frames[index].name for index in unlike[:3])
    detail = f"{len(unlike)} of {len(frames)} slices are oriented unlike the others: {names}"
    return _found(SeriesKind.SEVERAL_STACKS, places, detail)


def _reformatted(frames: Sequence[Frame], places: Floats) -> Classification | None:
    degrees = _degrees(frames[0])
    detail = f"slices lie {degrees:.1f} degrees off the axes of the patient"
    return _found(SeriesKind.REFORMATTED, places, detail) if degrees > OBLIQUE_DEGREES else None


def _duplicate(frames: Sequence[Frame], places: Floats) -> Classification | None:
    # Rounded, so that images at one place are neighbours in this order.
    order = np.lexsort((places[:, 2], places[:, 1], places[:, 0].round(2)))
    steps = np.linalg.norm(np.diff(places[order], axis=0), axis=1)
    same = np.flatnonzero(steps <= TOLERANCE_MM)
    if not len(same):
        return None
    first, second = (frames[order[index]].name for index in (same[0], same[0] + 1))
    detail = (
        f"{len(same)} of {len(frames)} slices lie where another image is, such as {first} and "
        f"{second}"
    )
    return _found(SeriesKind.DUPLICATE_POSITIONS, places, detail)


def _ambiguous(frames: Sequence[Frame], places: Floats) -> Classification | None:
    repeated = len(frames) - len({(frame.text("SOPInstanceUID"), frame.number) for frame in frames})
    detail = f"{repeated} of {len(frames)} slices share the SOPInstanceUID of another elsewhere"
    return _found(SeriesKind.INCOMPLETE, places, detail) if repeated else None


def _off_axis(frames: Sequence[Frame], places: Floats) -> Classification | None:
    """Find slices that lie beside one another rather than on one line."""
    left, _ = _lean(places)
    if np.abs(left).max() <= TOLERANCE_MM and tilt_degrees(places) <= OBLIQUE_DEGREES:
        return None
    detail = f"slices lie up to {sideways_mm(places):.3f} mm beside the first"
    return _found(SeriesKind.SEVERAL_STACKS, places, detail)


def _gaps(frames: Sequence[Frame], places: Floats) -> Classification | None:
    if is_even(places):
        return None
    along = np.sort(places[:, 0])
    steps = np.diff(along)
    if _interleaved(along):
        detail = (
            f"two passes of {len(frames)} slices lie in one another, {steps.min():.3f} mm apart"
        )
        return _found(SeriesKind.SEVERAL_STACKS, places, detail)
    if _is_uneven(steps):
        return None
    usual = usual_step(places)
    wide = np.flatnonzero(steps > usual + TOLERANCE_MM)
    missing = int(sum(max(1, round(step / usual) - 1) for step in steps[wide]))
    heights = _heights(frames, places)
    detail = ", ".join(
        f"slices are missing between {heights[index]:.2f} and {heights[index + 1]:.2f} mm"
        for index in wide[:3]
    )
    odd = np.count_nonzero(np.abs(steps - usual) > TOLERANCE_MM)
    detail = (
        f"{odd} of {len(steps)} steps between slices differ from the usual {usual:.3f} mm; "
        f"they go from {steps.min():.3f} to {steps.max():.3f} mm; {detail or 'none is wider'}"
    )
    return Classification(SeriesKind.GAPS, residual_mm(places), detail, missing)


def _heights(frames: Sequence[Frame], places: Floats) -> list[float]:
    """Return the coordinates of the slices along the patient's axis nearest to the stack's, as a
    person reads them in a viewer, in the order of the slices."""
    axis = int(np.abs(axes_of(frames[0])[0]).argmax())
    order = np.argsort(places[:, 0], kind="stable")
    positions = [frames[index].numbers("ImagePositionPatient", 3) or () for index in order]
    return [float(position[axis]) for position in positions]


def _interleaved(along: Floats) -> bool:
    """Return whether every second slice belongs to another even pass."""
    # Three slices in each pass: two are always evenly spaced.
    if len(along) < 6:
        return False
    return all(
        np.abs(part - np.linspace(part[0], part[-1], len(part))).max() <= TOLERANCE_MM
        for part in (along[::2], along[1::2])
    )


def _is_uneven(steps: Floats) -> bool:
    """Return whether the distances change, rather than that slices are missing.

    They do where each distance holds over a run of slices (thin slices below, thick ones above),
    and where none is much wider than usual.
    """
    if steps.max() > WIDEST_STEP_MM:
        return False
    changes = np.flatnonzero(np.abs(np.diff(steps)) > TOLERANCE_MM)
    # Numbers of equal steps in a row.
    runs = np.diff([-1, *changes, len(steps) - 1])
    return bool(steps.max() <= UNEVEN_RATIO * np.median(steps) or runs.min() >= 2)


def _usable(frames: Sequence[Frame], places: Floats) -> Classification:
    """Name the stack that lies straight and has no gap."""
    degrees, tilt = _degrees(frames[0]), tilt_degrees(places)
    spacing = np.ptp(places[:, 0]) / (len(places) - 1)
    detail = f"{len(frames)} slices {spacing:.3f} mm apart"
    if tilt:
        detail += f", stacked {tilt:.2f} degrees off their perpendicular"
    if degrees > UPRIGHT_DEGREES:
        detail += f", {degrees:.1f} degrees off the axes of the patient"
    if not is_even(places):
        steps = np.diff(np.sort(places[:, 0]))
        detail += f" on average, {steps.min():.3f} to {steps.max():.3f} mm"
        return _found(SeriesKind.UNEVEN, places, detail)
    if tilt:
        return _found(SeriesKind.TILTED_GANTRY, places, detail)
    kind = SeriesKind.REGULAR if degrees <= UPRIGHT_DEGREES else SeriesKind.OBLIQUE
    return _found(kind, places, detail)


def _found(kind: SeriesKind, places: Floats, detail: str) -> Classification:
    return Classification(kind, residual_mm(places), detail)


def _degrees(frame: Frame) -> float:
    """Largest angle between an axis of the stack and the axis of the patient that it stands for.

    The normal stands for the long axis: a coronal slice is at 90 degrees.
    """
    normal, *within = np.abs(axes_of(frame))
    cosine = min(normal[2], *(direction[:2].max() for direction in within))
    # Rounding can take a cosine above 1, where arccos is not defined.
    return float(np.degrees(np.arccos(min(cosine, 1.0))))
