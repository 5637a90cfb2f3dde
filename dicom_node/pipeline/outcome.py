"""The record that a job keeps of one series, and of each stack in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydicom import Dataset

from engine.findings.quality import Quality
from engine.findings.summary import Summary
from engine.segmentation.segment import Segmentation
from engine.volume import Label


class Verdict(StrEnum):
    """Outcome of a series, or of one of its stacks; the best first."""

    SEGMENTED = "segmented"
    NOTHING_FOUND = "nothing found"
    REFUSED = "refused"
    """One stack of several. A series that is refused as a whole raises `UnsupportedSeries`."""
    NOT_SELECTED = "not selected"


@dataclass(frozen=True)
class Outcome:
    """Result of one series, or of one of its stacks, or the reason why there is none.

    A series that holds several stacks has an outcome for each in `stacks`. Its own verdict is then
    the best of theirs, and its figures are those of the first stack with that verdict.
    """

    verdict: Verdict
    reason: str = ""
    """Why there is no SEG; empty where there is one."""
    stack: str = ""
    """`Stack.key`: the same for the same stack, whatever order the instances arrive in. Empty where
    the series is one stack."""
    label: str = ""
    """What tells the stack apart, for a person: "AcquisitionNumber 2"."""
    stacks: tuple["Outcome", ...] = ()
    """One for each stack, where the series holds several; empty otherwise."""
    notes: tuple[str, ...] = ()
    """What a reader of the result should know of the source: files passed over, slices missing,
    several rescalings. Never a value that could name the patient."""
    model: str = ""
    """Name and version of the model that computed it; empty where none did, and in older jobs."""
    seg: Path | None = None
    """File of the SEG."""
    seg_uid: str = ""
    """SOP Instance UID of the SEG that is delivered: that of `seg`, or of another form of it."""
    seg_series_uid: str = ""
    """Its Series Instance UID, which a viewer is asked for."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """The other objects, by the names of their items."""
    slices: int = 0
    millilitres: Mapping[str, float] = field(default_factory=dict)
    """Volume of each label."""
    agreement: Mapping[str, float] = field(default_factory=dict)
    """How far the members agree on each label, 0 to 1."""
    review: tuple[str, ...] = ()
    """Why a person should look at the result; empty where nothing is unusual."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock seconds of each stage, in order."""
    summary: Summary | None = None
    """Grid, volumes and the table of lesions; None without a result, and in older jobs."""

    @property
    def each(self) -> tuple["Outcome", ...]:
        """The outcomes of the single stacks: `stacks`, or this one."""
        return self.stacks or (self,)

    @property
    def folder(self) -> Path | None:
        """Folder of the result's files; None without a result."""
        return next((each.seg.parent for each in self.each if each.seg is not None), None)

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as JSON's own types, as the workflow store keeps it."""
        stored: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return stored

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Outcome":
        """Return the outcome that `to_json` wrote."""
        return _ADAPTER.validate_python(stored)


def to_outcome(
    made: Segmentation,
    quality: Quality,
    seg: Path,
    made_seg: Dataset,
    files: Mapping[str, Path],
    seconds: Mapping[str, float],
) -> Outcome:
    """Return the record of a stack whose objects are written."""
    return replace(
        figures_of(made, quality, seconds),
        seg=seg,
        seg_uid=str(made_seg.SOPInstanceUID),
        seg_series_uid=str(made_seg.SeriesInstanceUID),
        files=dict(files),
    )


def figures_of(made: Segmentation, quality: Quality, seconds: Mapping[str, float]) -> Outcome:
    """Return the figures of a volume that was segmented; the files are not named yet."""
    labels = [label for label in Label if label is not Label.BACKGROUND]
    return Outcome(
        Verdict.SEGMENTED,
        slices=len(made.label_map.labels),
        millilitres={each.name.lower(): made.label_map.millilitres(each) for each in labels},
        agreement={label.name.lower(): part for label, part in made.agreement.items()},
        review=quality.reasons,
        seconds=dict(seconds),
    )


def combine(outcomes: Sequence[Outcome], notes: Sequence[str] = ()) -> Outcome:
    """Return the outcome of a series from those of its stacks, of which there is at least one."""
    if len(outcomes) == 1:
        return replace(outcomes[0], notes=(*outcomes[0].notes, *notes))
    best = min(outcomes, key=lambda each: list(Verdict).index(each.verdict))
    labels: dict[str, list[str]] = {}
    for each in outcomes:
        if each.reason:
            labels.setdefault(f"{each.verdict}: {each.reason}", []).append(each.label)
    reasons = [f"{', '.join(which)}: {reason}" for reason, which in labels.items()]
    return replace(
        best,
        reason="; ".join(reasons),
        stack="",
        label="",
        stacks=tuple(outcomes),
        review=tuple(dict.fromkeys(word for each in outcomes for word in each.review)),
        notes=tuple(notes),
    )


_ADAPTER = TypeAdapter(Outcome)
