"""What the instances of a series can form, and what the node does with each."""

from dataclasses import dataclass
from enum import StrEnum


class Handling(StrEnum):
    """What happens to a series of some kind."""

    SEGMENT = "segment"
    SEGMENT_NATIVE = "segment on the native slices"
    """Nothing is resampled; the slices only roughly follow the axes of the patient."""
    REFUSE = "refuse"


class SeriesKind(StrEnum):
    """What the instances of a series form, in the order in which it is looked for."""

    NOT_CT = "not CT"
    """Another modality or SOP class, or nothing at all."""
    LOCALIZER = "localizer"
    """Projection images, by ImageType."""
    DERIVED = "derived"
    """Computed from other images (ImageType, colours, units other than HU)."""
    REFORMATTED = "reformatted"
    """Resampled in another plane, by ImageType or because the slices are not axial."""
    INCOMPLETE = "incomplete header"
    """Blank UIDs, or a value that place or Hounsfield units cannot do without."""
    MIXED = "mixed series"
    """Several series, patients, frames of reference, sizes or pixel spacings."""
    SINGLE_SLICE = "single slice"
    DUPLICATE_POSITIONS = "duplicate positions"
    SEVERAL_STACKS = "several stacks"
    """Slices oriented unlike one another, side by side, or in stacks that a tag tells apart."""
    TILTED_GANTRY = "tilted gantry"
    """Stacked along a line that is not perpendicular to the slices."""
    GAPS = "gaps"
    """Slices missing, or unevenly spaced."""
    NO_FRAME_OF_REFERENCE = "no frame of reference"
    """A stack that could be segmented, were it known in which frame its positions are meant."""
    OBLIQUE = "oblique stack"
    """Even, and up to 30 degrees off the axes of the patient."""
    REGULAR = "regular stack"

    @property
    def answer(self) -> Handling:
        """What the node does with a series of this kind."""
        if self is SeriesKind.REGULAR:
            return Handling.SEGMENT
        return Handling.SEGMENT_NATIVE if self is SeriesKind.OBLIQUE else Handling.REFUSE

    @property
    def remedy(self) -> str:
        """What would make a refused series one that can be segmented."""
        return REMEDIES.get(self, "")


REMEDIES = {
    SeriesKind.NOT_CT: "send the axial CT series",
    SeriesKind.LOCALIZER: "send the axial series that was planned on it",
    SeriesKind.REFORMATTED: "send the axial series that it was made from",
    SeriesKind.DERIVED: "send the original series that it was made from",
    SeriesKind.INCOMPLETE: "send the instances as the scanner wrote them",
    SeriesKind.MIXED: "send one series of one patient, all slices on the same grid",
    SeriesKind.SINGLE_SLICE: "send the whole series; two slices are the least",
    SeriesKind.DUPLICATE_POSITIONS: "send one instance for each position",
    SeriesKind.SEVERAL_STACKS: "send each stack as a series of its own",
    SeriesKind.TILTED_GANTRY: "send the series reconstructed without tilt",
    SeriesKind.GAPS: "send the missing slices, or a series that is evenly spaced",
    SeriesKind.NO_FRAME_OF_REFERENCE: (
        "send the instances with their FrameOfReferenceUID, "
        "or ask that one be derived from the series"
    ),
}


@dataclass(frozen=True)
class Classification:
    """The kind of a series, and by how much it misses one even, upright stack."""

    kind: SeriesKind
    residual_mm: float
    """Largest distance between a slice and its place in the even stack, perpendicular to the
    slices, that reaches from the first to the last; 0 where there is no stack to measure."""
    detail: str
    """What was found, with values; never anything that names the patient."""

    def __str__(self) -> str:
        """Kind, residual, detail and remedy in one line."""
        remedy = f"; {self.kind.remedy}" if self.kind.remedy else ""
        return f"{self.kind} (residual {self.residual_mm:.3f} mm): {self.detail}{remedy}"
