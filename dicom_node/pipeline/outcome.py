"""What came of one series: the record that a job keeps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from dicom_node.results.attributes.uids import ResultUids
from engine.findings.quality import Quality
from engine.segmentation.segment import Segmentation
from engine.volume import Label


class Verdict(StrEnum):
    """How the work on a series ended."""

    SEGMENTED = "segmented"
    NOT_SELECTED = "not selected"
    NOTHING_FOUND = "nothing found"


@dataclass(frozen=True)
class Outcome:
    """What the node made of one series, or why it made nothing."""

    verdict: Verdict
    reason: str = ""
    """Why there is no SEG; empty where there is one."""
    seg: Path | None = None
    """File of the SEG."""
    seg_uid: str = ""
    """Its SOP Instance UID."""
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
    uids: ResultUids,
    files: Mapping[str, Path],
    seconds: Mapping[str, float],
) -> Outcome:
    """Return the record of a series whose objects are written."""
    labels = [label for label in Label if label is not Label.BACKGROUND]
    return Outcome(
        Verdict.SEGMENTED,
        seg=seg,
        seg_uid=uids.instance,
        seg_series_uid=uids.series,
        files=dict(files),
        slices=len(made.label_map.labels),
        millilitres={each.name.lower(): made.label_map.millilitres(each) for each in labels},
        agreement={label.name.lower(): part for label, part in made.agreement.items()},
        review=tuple(concern.value for concern in quality.concerns),
        seconds=dict(seconds),
    )


_ADAPTER = TypeAdapter(Outcome)
