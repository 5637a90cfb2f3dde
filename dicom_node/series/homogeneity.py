"""Attributes that must not alternate or jump within one stack.

Even positions alone do not make a volume: two contrast phases or two breaths whose slices lie in
one another evenly are no anatomy, and volumes measured on them are wrong (issue 14). A value that
progresses from slice to slice, as times in a spiral and numbers of rotations do, is no difference.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from dicom_node.series.acquisition_times import made_of, passes, seconds_of
from dicom_node.series.frames import Frame, written_alike
from dicom_node.series.slice_positions import places_of
from dicom_node.tolerances import TOLERANCE_MM

Values = Sequence[str]
"""One for each slice; empty where it is not known."""

LEAST_SLICES = 3
"""A jump that leaves fewer slices on one side makes no stack: a last rotation is often shorter."""
PAUSE_S = 10.0
"""A longer pause between neighbouring slices is another breath, and perhaps another phase."""
MOST_IN_TURN = 4
"""Phases, energies or breaths whose slices lie in one another, one of each in turn."""
ROTATIONS = 4
"""From so many runs on, each after a pause, a series is one sequential scan."""
LEVELS_APART, LEVEL_SPREAD = 1.5, 1.2
"""Ratio between two levels of exposure, and within one. Modulation along the patient leaves no such
gap in so flat a course."""


@dataclass(frozen=True)
class Difference:
    """An attribute by which slices fall into groups."""

    keyword: str
    values: tuple[str, ...]
    """One for each slice, equal within a group."""

    def groups(self) -> dict[str, NDArray[np.intp]]:
        """Return the indices of the slices with each value; numbers in their order."""
        found = np.array(self.values)
        return {value: np.flatnonzero(found == value) for value in sorted({*found}, key=_key)}


@dataclass(frozen=True, eq=False)
class Course:
    """The values of one attribute along a stack."""

    frames: Sequence[Frame]
    """In the order of their places."""
    values: Values
    along: NDArray[np.float64]
    """Millimetres along the normal, ascending."""

    @cached_property
    def runs(self) -> list[tuple[int, int]]:
        """First and last index of each run of equal values."""
        change = [i for i in range(1, len(self.values)) if self.values[i] != self.values[i - 1]]
        return list(zip([0, *change], [c - 1 for c in [*change, len(self.values)]], strict=True))

    @property
    def distinct(self) -> int:
        """Number of known values."""
        return len({*self.values} - {""})

    @property
    def in_turn(self) -> bool:
        """Whether known values come round and round, from the first slice to the last."""
        count = self.distinct
        if not 2 <= count <= MOST_IN_TURN or len(self.values) < count * LEAST_SLICES:
            return False
        return all(value == self.values[i % count] for i, value in enumerate(self.values))

    @property
    def alternates(self) -> bool:
        """Whether a value comes back after another, or two values lie at one place."""
        same_place = np.diff(self.along) <= TOLERANCE_MM
        differ = np.array(self.values[1:]) != np.array(self.values[:-1])
        return len(self.runs) > len({*self.values}) or bool((same_place & differ).any())


@dataclass(frozen=True)
class Trait:
    """An attribute, how it is read, and when its values make several stacks."""

    keyword: str
    read: Callable[[Sequence[Frame]], Values]
    splits: Callable[[Course], bool]
    made_of: tuple[str, ...] = ()
    """Attributes that decide its values alone: if each is the same in all slices, so are these."""


def required_split(frames: Sequence[Frame], along: NDArray[np.float64]) -> Difference | None:
    """Return the first attribute that shows these slices to be several stacks.

    Args:
        frames: of one orientation, with sound headers, sorted along the normal.
        along: millimetres of each along the normal.
    """
    for trait in (*_traits(frames), *IN_TURN):
        # Converting what is written alike everywhere took 0.3 s of 300 slices.
        if trait.made_of and all(written_alike(frames, each) for each in trait.made_of):
            continue
        course = Course(frames, trait.read(frames), along)
        if course.in_turn or (course.distinct > 1 and trait.splits(course)):
            return Difference(trait.keyword, tuple(course.values))
    return None


def possible_splits(frames: Sequence[Frame]) -> Iterator[Difference]:
    """Yield every attribute that could separate the stacks where the positions show several."""
    for trait in _traits(frames):
        values = tuple(trait.read(frames))
        if 1 < len({*values} - {""}) < len(frames):
            yield Difference(trait.keyword, values)


def _always(course: Course) -> bool:
    return course.alternates or course.distinct < len(course.frames)


def _alternating(course: Course) -> bool:
    return course.alternates


def _alternating_or_jumping(course: Course) -> bool:
    return course.alternates or _jumps(course)


def _never(course: Course) -> bool:
    return False


def _jumps(course: Course) -> bool:
    """Return whether a value changes as between scans, not as between rotations.

    Times decide where they are known: a scan that goes on has no pause. Without times, runs of one
    length are the rotations of a sequential scan, and two long runs are two scans.
    """
    lengths = [last - first + 1 for first, last in course.runs]
    if min(lengths) < LEAST_SLICES:
        return False
    pauses = [_pause_s(course, before, after) for before, after in _neighbours(course.runs)]
    if not any(np.isnan(pauses)):
        return max(pauses) > PAUSE_S and len(lengths) < ROTATIONS
    return len(lengths) < LEAST_SLICES or len({*lengths[:-1]}) > 1 or lengths[-1] > lengths[0]


def _neighbours(runs: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the two indices on both sides of each change."""
    for (_, last), (first, _) in itertools.pairwise(runs):
        yield last, first


def _pause_s(course: Course, before: int, after: int) -> float:
    return abs(seconds_of(course.frames[after]) - seconds_of(course.frames[before]))


def _text(keyword: str, frames: Sequence[Frame]) -> Values:
    return [_plain(frame.text(keyword)) for frame in frames]


def _text_or_none(keyword: str, frames: Sequence[Frame]) -> Values:
    """Read an attribute whose absence is a value too."""
    return [frame.text(keyword) or "none" for frame in frames]


def _kind_of_image(frames: Sequence[Frame]) -> Values:
    """Read Image Type without its first two values, which lossy compression changes too."""
    return ["/".join(frame.words("ImageType")[2:]) for frame in frames]


def _counted(frames: Sequence[Frame]) -> Values:
    """Read the first Instance Number of the pass that a slice was counted in.

    A pass ends where the numbers turn back. Blank where they do so often, or do not count.
    """
    numbers = [frame.numbers("InstanceNumber", 1) for frame in frames]
    if None in numbers or len({*numbers}) < len(frames):
        return [""] * len(frames)
    counted = np.array(numbers, float)[:, 0]
    order = np.argsort(counted)
    upwards = np.diff(places_of(frames)[order, 0]) > 0
    turns = np.flatnonzero(upwards != (np.count_nonzero(upwards) * 2 > len(upwards))) + 1
    if len(turns) >= MOST_IN_TURN:
        return [""] * len(frames)
    firsts = counted[order][[0, *turns]]
    return [f"{firsts[firsts <= number].max():g}" for number in counted]


def _dimension(keyword: str, frames: Sequence[Frame]) -> Values:
    return [frame.dimensions.get(keyword, "") for frame in frames]


def _levels(keyword: str, frames: Sequence[Frame]) -> Values:
    """Read a number that has two levels as those, and any other as one value."""
    numbers = [(frame.numbers(keyword, 1) or (0.0,))[0] for frame in frames]
    values = sorted(numbers)
    if values[0] <= 0:
        return [""] * len(frames)
    ratios = [high / low for low, high in itertools.pairwise(values)]
    at = int(np.argmax(ratios)) if ratios else 0
    low, high = values[: at + 1], values[at + 1 :]
    if not ratios or ratios[at] < LEVELS_APART or min(len(low), len(high)) < LEAST_SLICES:
        return [""] * len(frames)
    if max(low[-1] / low[0], high[-1] / high[0]) > LEVEL_SPREAD:
        return [""] * len(frames)
    return [f"{low[0]:g}" if number <= low[-1] else f"{high[0]:g}" for number in numbers]


def _plain(text: str) -> str:
    """Return one text for one number, however it is written."""
    try:
        # 15 digits: "120" and "120.0" are one, and a float's last digits do not count.
        return f"{float(text):.15g}"
    except ValueError:
        return text


def _key(value: str) -> tuple[bool, float, str]:
    try:
        return False, float(value), value
    except ValueError:
        return True, 0.0, value


def _trait(
    keyword: str,
    read: Callable[[str, Sequence[Frame]], Values],
    splits: Callable[[Course], bool],
) -> Trait:
    return Trait(keyword, partial(read, keyword), splits, (keyword,))


def _trait_of_time(keyword: str, splits: Callable[[Course], bool]) -> Trait:
    return Trait(keyword, lambda frames: passes(frames, keyword), splits, made_of(keyword))


TECHNIQUE = (
    *("KVP", "ConvolutionKernel", "FilterType", "ScanOptions", "NominalPercentageOfCardiacPhase"),
    *("TemporalPositionIdentifier", "TemporalPositionIndex", "StackID"),
)
ACQUISITION = ("AcquisitionNumber", "IrradiationEventUID", "AcquisitionUID")
EXPOSURE = ("XRayTubeCurrent", "Exposure", "ExposureTime", "CTDIvol")
WRITTEN = ("SeriesDescription", "SliceThickness")
"""Differ for harmless reasons (edited on the way, thicker slices further up) unless they
alternate."""

TRAITS = (
    *(_trait(each, _text, _always) for each in TECHNIQUE),
    Trait("ImageType", _kind_of_image, _always, ("ImageType",)),
    _trait("ContrastBolusAgent", _text_or_none, _always),
    *(_trait(each, _text, _alternating_or_jumping) for each in ACQUISITION),
    *(_trait(each, _levels, _always) for each in EXPOSURE),
    *(_trait(each, _text, _alternating) for each in WRITTEN),
    _trait_of_time("AcquisitionTime", _alternating_or_jumping),
    _trait_of_time("AcquisitionDateTime", _alternating),
    # When an image was made, not when it was acquired: only tells apart what must be apart.
    _trait_of_time("ContentTime", _never),
)

IN_TURN = (
    *(
        _trait(each, _text, _never)
        for each in (
            *("ProtocolName", "ImageComments", "AcquisitionDate", "TriggerTime", "TablePosition"),
            *("ContrastBolusStartTime", "ContrastBolusVolume", "SeriesNumber", "SeriesTime"),
            *("SpiralPitchFactor", "GantryDetectorTilt", "ReconstructionDiameter"),
        )
    ),
    Trait("InstanceNumber", _counted, _never),
)
"""Differ within one scan, and tell several apart only where their values come in turn."""


def _traits(frames: Sequence[Frame]) -> Iterator[Trait]:
    yield from TRAITS
    for keyword in sorted({name for frame in frames for name in frame.dimensions}):
        yield Trait(keyword, partial(_dimension, keyword), _always)
