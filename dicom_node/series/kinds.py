"""The kinds of stack that instances can form, and what the node does with each."""

from dataclasses import dataclass
from enum import StrEnum


class Handling(StrEnum):
    """Handling of a kind of stack."""

    SEGMENT = "segment"
    SEGMENT_NATIVE = "segment on the native slices"
    """Nothing is resampled: every frame of the SEG lies on a slice as the scanner made it."""
    REFUSE = "refuse"


class SeriesKind(StrEnum):
    """Kind of a stack, in the order in which the checks are made."""

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
    """Several series, patients, orders, frames of reference, sizes or pixel spacings."""
    SINGLE_SLICE = "single slice"
    FEW_SLICES = "too few slices"
    """Part of a series of several stacks that is too short to be a result of its own."""
    DUPLICATE_POSITIONS = "duplicate positions"
    SEVERAL_STACKS = "several stacks"
    """Stacks that lie side by side or in one another, none of them regular when taken apart."""
    GAPS = "gaps"
    """Slices missing between others; bridged where `select.bridge_gaps` allows it."""
    NO_FRAME_OF_REFERENCE = "no frame of reference"
    """A stack that could be segmented if the frame of its positions were known."""
    IMPLAUSIBLE = "implausible Hounsfield units"
    """Air, fat, muscle or bone are not where Hounsfield units have them."""
    TILTED_GANTRY = "tilted gantry"
    """Stacked along a line that is not perpendicular to the slices, evenly."""
    UNEVEN = "uneven spacing"
    """Slices at changing distances without a gap; volumes are measured by their positions."""
    OBLIQUE = "oblique stack"
    """Even, and up to 30 degrees off the axes of the patient."""
    REGULAR = "regular stack"

    @property
    def answer(self) -> Handling:
        """Handling of stacks of this kind."""
        if self is SeriesKind.REGULAR:
            return Handling.SEGMENT
        return Handling.SEGMENT_NATIVE if self in NATIVE else Handling.REFUSE

    @property
    def remedy(self) -> str:
        """Change that makes a refused series usable; empty if there is none."""
        return REMEDIES.get(self, "")


NATIVE = {SeriesKind.TILTED_GANTRY, SeriesKind.UNEVEN, SeriesKind.OBLIQUE}

REMEDIES = {
    SeriesKind.NOT_CT: "send the axial CT series",
    SeriesKind.LOCALIZER: "send the axial series that was planned on it",
    SeriesKind.REFORMATTED: "send the axial series that it was made from",
    SeriesKind.DERIVED: (
        "send the original series that it was made from, or set select.derived_axial where the "
        "archive holds nothing else"
    ),
    SeriesKind.INCOMPLETE: "send the instances as the scanner wrote them",
    SeriesKind.MIXED: (
        "correct the study in the archive, so that all slices agree, and send the series again"
    ),
    SeriesKind.SINGLE_SLICE: "send the whole series; two slices are the least",
    SeriesKind.FEW_SLICES: "send the whole stack; three slices are the least beside other stacks",
    SeriesKind.DUPLICATE_POSITIONS: (
        "if they are two phases or energies, send each as a series of its own; if they are copies "
        "under new UIDs, remove one of them"
    ),
    SeriesKind.SEVERAL_STACKS: "send each stack as a series of its own",
    SeriesKind.GAPS: (
        "send the missing slices, or set select.bridge_gaps to measure across up to two of them"
    ),
    SeriesKind.NO_FRAME_OF_REFERENCE: (
        "send the instances with their FrameOfReferenceUID, "
        "or ask that one be derived from the series"
    ),
    SeriesKind.IMPLAUSIBLE: (
        "check RescaleSlope, RescaleIntercept and the stored bits, and send the series as the "
        "scanner wrote it"
    ),
}

MOST_MISSING = 2
"""Slices that may be bridged in one stack, where the configuration allows it at all."""


@dataclass(frozen=True)
class Classification:
    """The kind of a stack, and by how much it misses one even, upright stack."""

    kind: SeriesKind
    residual_mm: float
    """Largest distance between a slice and its place in the even stack, perpendicular to the
    slices, that reaches from the first to the last; 0 where there is no stack to measure."""
    detail: str
    """What was found, with values; never anything that names the patient."""
    missing: int = 0
    """Slices that are missing between others, where that can be counted."""

    @property
    def bridgeable(self) -> bool:
        """Whether so few slices are missing that volumes may be measured across the gaps."""
        return self.kind is SeriesKind.GAPS and 0 < self.missing <= MOST_MISSING

    def __str__(self) -> str:
        """Kind, residual, detail and remedy in one line."""
        residual = f" (residual {self.residual_mm:.3f} mm)" if self.residual_mm else ""
        remedy = f"; {self.kind.remedy}" if self.kind.remedy else ""
        return f"{self.kind}{residual}: {self.detail}{remedy}"
