"""A series of a study that may be the best, and its preference over another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from dicom_node.choice.contrast_phase import UNKNOWN, FoundPhase, Phase
from dicom_node.choice.kernel import Sharpness
from dicom_node.selection.rules import Criterion


@dataclass(frozen=True)
class Candidate:
    """A series, as far as the choice among the series of a study depends on it."""

    job: str
    """Name of the job on it."""
    number: str = ""
    """Series Number; empty where it has none."""
    phase: FoundPhase = UNKNOWN
    kernel: Sharpness = Sharpness.UNKNOWN
    thickness_mm: float | None = None
    slices: int = 0

    @property
    def name(self) -> str:
        """Name of the series in messages."""
        return f"series {self.number}" if self.number else f"the series of job {self.job}"


def ranked(candidates: Sequence[Candidate], prefer: Sequence[Criterion]) -> list[Candidate]:
    """Return the candidates in the order of preference, the best first."""
    return sorted(candidates, key=partial(_place, prefer))


def why_preferred(best: Candidate, other: Candidate, prefer: Sequence[Criterion]) -> str:
    """Return the first criterion by which one candidate is better than another, in words."""
    for criterion in prefer:
        place, words = CRITERIA[criterion]
        if place(best) != place(other):
            return words(best, other)
    if best.slices != other.slices:
        return f"it has {best.slices} slices, this one {other.slices}"
    return "the two are alike, and its number is lower"


Place = Callable[[Candidate], float]
Words = Callable[[Candidate, Candidate], str]


def _phase_place(candidate: Candidate) -> float:
    # The order of the class is the order of preference.
    return list(Phase).index(candidate.phase.phase)


def _phase_words(best: Candidate, other: Candidate) -> str:
    return f"its phase is {best.phase}, that of this one {other.phase}"


def _kernel_place(candidate: Candidate) -> float:
    return list(Sharpness).index(candidate.kernel)


def _kernel_words(best: Candidate, other: Candidate) -> str:
    return f"its kernel is {best.kernel}, that of this one {other.kernel}"


def _thickness_place(candidate: Candidate) -> float:
    return float("inf") if candidate.thickness_mm is None else candidate.thickness_mm


def _thickness_words(best: Candidate, other: Candidate) -> str:
    thickness = other.thickness_mm
    those = "of unknown thickness" if thickness is None else f"{thickness:g} mm"
    return f"its slices are {best.thickness_mm:g} mm thick, those of this one {those}"


CRITERIA: dict[Criterion, tuple[Place, Words]] = {
    "phase": (_phase_place, _phase_words),
    "kernel": (_kernel_place, _kernel_words),
    "thickness": (_thickness_place, _thickness_words),
}


def _place(prefer: Sequence[Criterion], candidate: Candidate) -> tuple[float | str, ...]:
    places = [CRITERIA[criterion][0](candidate) for criterion in prefer]
    # As a number: "10" would come before "9" as text. The job last, so that the order is always the
    # same.
    number = float(candidate.number) if candidate.number.isdecimal() else float("inf")
    return (*places, -candidate.slices, number, candidate.job)
