"""The stacks that the instances of one series hold, each with what the node does with it."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pydicom import Dataset

from dicom_node.errors import UnsupportedSeries
from dicom_node.series.ct_requirements import image_kinds, screen_images, screen_series
from dicom_node.series.frames import Frame, frames_of, instances_of
from dicom_node.series.homogeneity import (
    LEAST_SLICES,
    Difference,
    possible_splits,
    required_split,
)
from dicom_node.series.kinds import Classification, Handling, SeriesKind
from dicom_node.series.slice_positions import in_order, place_slices, places_of, unlike_the_most
from dicom_node.tolerances import SPACING_MM

APART = {
    SeriesKind.GAPS,
    SeriesKind.DUPLICATE_POSITIONS,
    SeriesKind.SEVERAL_STACKS,
    SeriesKind.UNEVEN,
}
"""Kinds for which an attribute is looked for that takes them apart into regular stacks."""

HASHED = (
    *("SeriesDescription", "ContrastBolusAgent", "ScanOptions", "FilterType"),
    *("ProtocolName", "ImageComments"),
)
"""A person may have written a name into these: their text goes into no key and no message."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices of one series that belong together, and the kind of stack they form."""

    frames: tuple[Frame, ...]
    """Along the normal of the slices, from one end to the other."""
    found: Classification
    key: str = ""
    """What tells the stack apart from the others of its series, as part of a file name: the same
    for the same stack, in whatever order the instances arrive. Empty where the series is one."""
    label: str = ""
    """The same for a person: "AcquisitionNumber 2"; never text that a person wrote."""

    @property
    def instances(self) -> list[Dataset]:
        """Each instance that has a slice in the stack, once, in the order of the slices."""
        return instances_of(self.frames)

    def handling(self, *, bridge_gaps: bool = False) -> Handling:
        """Return what happens to the stack.

        Args:
            bridge_gaps: segment a stack of which so few slices are missing that volumes may be
                measured across the gaps, on the slices that are there.
        """
        if bridge_gaps and self.found.bridgeable:
            return Handling.SEGMENT_NATIVE
        return self.found.kind.answer


@dataclass(frozen=True, eq=False)
class Division:
    """The stacks of one series, and what was set aside."""

    stacks: tuple[Stack, ...]
    """At least one; a series that cannot be segmented at all is one stack of a refused kind."""
    notes: tuple[str, ...] = ()
    """What was passed over and why, for a person; never a value that could name the patient."""

    @property
    def found(self) -> Classification:
        """The kind of the whole series: that of its only stack, or "several stacks"."""
        if len(self.stacks) == 1:
            return self.stacks[0].found
        return _several(self.stacks)

    def only(self, *, bridge_gaps: bool = False) -> Stack:
        """Return the stack of a series that is to be one volume.

        Raises:
            UnsupportedSeries: there are several, or it cannot be segmented.
        """
        usable = [
            each
            for each in self.stacks
            if each.handling(bridge_gaps=bridge_gaps) is not Handling.REFUSE
        ]
        if len(self.stacks) > 1 or not usable:
            raise UnsupportedSeries(str(self.found))
        return usable[0]


def find_stacks(instances: Iterable[Dataset], *, derived_axial: bool = False) -> Division:
    """Take the instances of one series apart, in any order; their pixels are not read.

    Args:
        instances: of one series; others than CT images among them are set aside by name.
        derived_axial: take axial images that are DERIVED, such as thick slices made of thin ones.
    """
    return divide(frames_of(instances), derived_axial=derived_axial)


def divide(frames: Sequence[Frame], *, derived_axial: bool = False) -> Division:
    """Take the frames of one series apart, in any order; see `find_stacks`."""
    kinds = image_kinds(frames, derived_axial=derived_axial)
    images = [frame for frame, kind in zip(frames, kinds, strict=True) if kind is None]
    aside = [kind for kind in kinds if kind is not None]
    if not images:
        found = aside[0] if aside else Classification(SeriesKind.NOT_CT, 0.0, "no image at all")
        return Division((Stack(tuple(frames), _counted(found, len(frames))),))
    notes = tuple(dict.fromkeys(_note(kind, aside, len(frames)) for kind in aside))
    if refusal := screen_series(images) or screen_images(images):
        return Division((Stack(tuple(images), refusal),), notes)
    stacks = tuple(_with_frame_of_reference(each) for each in _parts(images, ()))
    if len(stacks) > 1 and not any(_hopeful(each) for each in stacks):
        stacks = (Stack(in_order(images), _several(stacks)),)
    return Division(stacks, notes)


def _counted(found: Classification, count: int) -> Classification:
    return Classification(found.kind, 0.0, f"{found.detail} ({count} image(s))")


def _note(kind: Classification, aside: Sequence[Classification], count: int) -> str:
    return f"{aside.count(kind)} of {count} instances passed over: {kind.kind}: {kind.detail}"


def _hopeful(stack: Stack) -> bool:
    return stack.handling(bridge_gaps=True) is not Handling.REFUSE


def _with_frame_of_reference(stack: Stack) -> Stack:
    """Refuse a stack whose positions are meant in no known frame."""
    if not _hopeful(stack) or stack.frames[0].text("FrameOfReferenceUID"):
        return stack
    if stack.found.kind is SeriesKind.GAPS:  # stays refused, and is not to be bridged
        return replace(stack, found=replace(stack.found, missing=0))
    detail = f"FrameOfReferenceUID is blank in {stack.found.detail}"
    blank = Classification(SeriesKind.NO_FRAME_OF_REFERENCE, stack.found.residual_mm, detail)
    return Stack(stack.frames, blank, stack.key, stack.label)


Path = tuple[tuple[str, str], ...]
"""Keyword and value of each attribute by which a part was taken out of the series."""


def _parts(frames: Sequence[Frame], path: Path) -> Iterator[Stack]:
    """Take frames with sound headers apart until each part is one stack, or cannot be divided."""
    # Only of parts: a whole series of two slices is a stack.
    if path and len(frames) < LEAST_SLICES:
        detail = f"{len(frames)} of the series' slices: {', '.join(f.name for f in frames)}"
        kind = SeriesKind.SINGLE_SLICE if len(frames) == 1 else SeriesKind.FEW_SLICES
        yield _stack(frames, Classification(kind, 0.0, detail), path)
        return
    if difference := _by_size(frames) or _by_orientation(frames):
        yield from _groups(frames, difference, path)
        return
    # Attributes first: slices of two phases may lie evenly all the same.
    found, difference = place_slices(frames), _required(frames)
    if difference and any(len(group) >= LEAST_SLICES for group in difference.groups().values()):
        yield from _groups(frames, difference, path)
        return
    if difference and found.kind is not SeriesKind.DUPLICATE_POSITIONS:
        detail = f"{len(frames)} slices differ in {difference.keyword}, too few for a stack of each"
        yield _stack(frames, Classification(SeriesKind.SEVERAL_STACKS, 0.0, detail), path)
        return
    if found.kind in APART and (difference := _apart(frames)):
        yield from _groups(frames, difference, path)
        return
    yield _stack(frames, found, path)


def _groups(frames: Sequence[Frame], difference: Difference, path: Path) -> Iterator[Stack]:
    for value, indices in difference.groups().items():
        part = [frames[index] for index in indices]
        yield from _parts(part, (*path, (difference.keyword, value)))


def _required(frames: Sequence[Frame]) -> Difference | None:
    ordered = in_order(frames)
    found = required_split(ordered, places_of(ordered)[:, 0])
    return _in_their_order(found, ordered, frames) if found else None


def _apart(frames: Sequence[Frame]) -> Difference | None:
    """Return an attribute that takes the slices apart into regular stacks, if there is one."""
    for difference in possible_splits(frames):
        groups = [[frames[i] for i in indices] for indices in difference.groups().values()]
        if all(
            len(group) >= LEAST_SLICES and place_slices(group).kind not in (*APART,)
            for group in groups
        ):
            return difference
    return None


def _in_their_order(
    found: Difference, ordered: Sequence[Frame], frames: Sequence[Frame]
) -> Difference:
    value = {id(frame): each for frame, each in zip(ordered, found.values, strict=True)}
    return Difference(found.keyword, tuple(value[id(frame)] for frame in frames))


def _by_size(frames: Sequence[Frame]) -> Difference | None:
    """Group slices by matrix and pixel spacing; spacings within the tolerance are one."""
    sizes = [
        (*(int((frame.numbers(each, 1) or (0,))[0]) for each in ("Rows", "Columns")), *spacing)
        for frame in frames
        for spacing in [frame.numbers("PixelSpacing", 2) or (0.0, 0.0)]
    ]
    down, across = (_levels([size[axis] for size in sizes]) for axis in (2, 3))
    values = tuple(
        f"{size[0]}x{size[1]} at {down[size[2]]:g}x{across[size[3]]:g} mm" for size in sizes
    )
    return Difference("matrix", values) if len({*values}) > 1 else None


def _levels(spacings: Sequence[float]) -> dict[float, float]:
    """Return for each spacing the smallest that is the same but for rounding."""
    levels: dict[float, float] = {}
    level = -1.0
    for spacing in sorted({*spacings}):
        # Against the lowest of the level, not the one before: else a level could creep upwards.
        level = level if spacing - level <= SPACING_MM else spacing
        levels[spacing] = level
    return levels


def _by_orientation(frames: Sequence[Frame]) -> Difference | None:
    unlike = unlike_the_most(frames)
    if not unlike.any():
        return None
    main = _cosines(next(f for f, odd in zip(frames, unlike, strict=True) if not odd))
    return Difference(
        "orientation",
        tuple(_cosines(frame) if odd else main for frame, odd in zip(frames, unlike, strict=True)),
    )


def _cosines(frame: Frame) -> str:
    cosines = frame.numbers("ImageOrientationPatient", 6) or ()
    # + 0.0 turns -0.0 into 0.0.
    return " ".join(f"{round(each, 4) + 0.0:g}" for each in cosines)


def _stack(frames: Sequence[Frame], found: Classification, path: Path) -> Stack:
    key = "-".join(_slug(keyword, value) for keyword, value in path)
    label = ", ".join(_label(keyword, value) for keyword, value in path)
    return Stack(in_order(frames), found, key, label)


def _slug(keyword: str, value: str) -> str:
    word = _digest(value) if keyword in HASHED else value.lower()
    return re.sub(r"[^a-z0-9]+", "-", f"{keyword.lower()}-{word}").strip("-")


def _label(keyword: str, value: str) -> str:
    if keyword in HASHED:
        return f"{keyword} #{_digest(value)}"
    return f"{keyword} {value or 'blank'}"


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:6]


def _several(stacks: Sequence[Stack]) -> Classification:
    """Describe stacks that are refused together, sizes and short ones first."""
    listed = "; ".join(
        f"{each.label or 'all'}: {len(each.frames)} slice(s), {each.found.kind}"
        + ("" if each.found.kind.answer is not Handling.REFUSE else f" ({each.found.detail})")
        for each in stacks
    )
    return Classification(SeriesKind.SEVERAL_STACKS, 0.0, f"{len(stacks)} stacks: {listed}")
