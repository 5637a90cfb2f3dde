"""Methods on patients: every patient is looked at once, marked by each, judged, and let go."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from trainer.errors import BadData
from trainer.evaluation.metrics.exam import Exam, Structure
from trainer.evaluation.metrics.scores import PatientScores, judge
from trainer.evaluation.metrics.summary import Summary, summarise
from trainer.evaluation.run.films import Film, film
from trainer.evaluation.run.methods import Method
from trainer.evaluation.run.patients import PatientCase
from trainer.evaluation.run.thumbnails import Sketch, sketch

TOLERANCE_MM = 2.0
"""Of the NSD: about what two people who draw the same liver differ by."""


@dataclass(frozen=True)
class Judged:
    """One method on every patient."""

    name: str
    patients: tuple[PatientScores, ...]
    """By name."""
    summary: Summary
    sketches: Mapping[tuple[str, Structure], Sketch]
    """Patient and structure to the slice that shows most of it."""
    films: Mapping[str, Film] = field(default_factory=dict)
    """Patient to slices."""

    @property
    def whole(self) -> bool:
        """Whether every patient was judged in volumes."""
        return all(each.whole for each in self.patients)


@dataclass(frozen=True)
class Evaluation:
    """Results."""

    methods: tuple[Judged, ...]
    tolerance_mm: float
    about: Mapping[str, str]
    """Description of the data and the methods."""
    learnt_from: Mapping[str, int]
    """Method to the number of patients it has learnt from, where known."""


@dataclass
class _Tray:
    """Scores of one method so far."""

    scores: dict[str, PatientScores] = field(default_factory=dict)
    sketches: dict[tuple[str, Structure], Sketch] = field(default_factory=dict)
    films: dict[str, Film] = field(default_factory=dict)

    def add(self, exam: Exam, tolerance_mm: float) -> None:
        judged = judge(exam, tolerance_mm)
        before = self.scores.get(exam.patient)
        # A patient may have several series; they are summed, not averaged as if they were two.
        self.scores[exam.patient] = before + judged if before else judged
        for structure in Structure:
            if (drawn := sketch(exam, structure)) is not None:
                self.sketches[exam.patient, structure] = drawn
        if (shown := film(exam)) is not None:
            self.films[exam.patient] = shown


def evaluate(
    subjects: Iterable[PatientCase],
    methods: Sequence[Method],
    *,
    about: Mapping[str, str],
    learnt_from: Mapping[str, int] = MappingProxyType({}),
    tolerance_mm: float = TOLERANCE_MM,
    progress: Callable[[str], None] = lambda patient: None,
) -> Evaluation:
    """Let every method mark every subject, and judge the marks.

    Raises:
        BadData: no method has marked anyone.
    """
    trays: dict[str, _Tray] = {}
    for subject in subjects:
        progress(subject.patient)
        for method in methods:
            for name, exam in method(subject).items():
                trays.setdefault(name, _Tray()).add(exam, tolerance_mm)
    if not trays:
        raise BadData("no SEG object refers to a series of the data: name their SEGs' folder")
    judged = tuple(_judged(name, tray) for name, tray in trays.items())
    return Evaluation(judged, tolerance_mm, about, learnt_from)


def _judged(name: str, tray: _Tray) -> Judged:
    patients = tuple(tray.scores[each] for each in sorted(tray.scores))
    return Judged(name, patients, summarise(patients), tray.sketches, tray.films)
