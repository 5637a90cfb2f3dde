"""Tasks and results of workflows, and the form in which the workflow store keeps them.

DBOS stores what a workflow was started with and what each step returned as JSON. Hepar 0.1 stored
positional arguments and lists; those rows are still read, because a node that is upgraded may have
jobs under way and lists jobs that ended long before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter

from dicom_node.pipeline.outcome import Outcome
from dicom_node.results.objects import ObjectKind, item_name


def is_of_0_1(arguments: Sequence[Any]) -> bool:
    """Return whether Hepar 0.1 started the workflow of these arguments, or they are lost."""
    return len(arguments) != 1


class Record:
    """A frozen dataclass that the workflow store keeps as JSON."""

    def to_json(self) -> dict[str, Any]:
        """Return the record in JSON's own types."""
        stored: dict[str, Any] = _adapter(type(self)).dump_python(self, mode="json")
        return stored

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the record that `to_json` wrote."""
        record: Self = _adapter(cls).validate_python(stored)
        return record


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}
"""One for each kind of record, because building one takes milliseconds."""


def _adapter(kind: type) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


@dataclass(frozen=True)
class SeriesTask(Record):
    """One series to segment: the input of a segment workflow."""

    study_uid: str
    series_uid: str
    paths: tuple[Path, ...]
    """Received files."""
    digest: str = ""
    """`content_digest` of the files; empty in a job of 0.1."""
    stamp: str = ""
    """`file_stamp` of the files when the digest was taken."""
    supersedes: tuple[str, ...] = ()
    """Older jobs on the same series, whose results those of this one take the place of."""
    refusal: str = ""
    """Why the series cannot be a job that computes; empty where it can."""
    modality: str = ""
    """Of the first file, such as "CT"; empty where it has none, and in jobs of 0.3 and before."""
    not_chosen: str = ""
    """Why another series of the study has a result in its place; empty where none has."""
    asked: bool = False
    """Whether a person asked for another result of it, which the usual model makes."""
    holder: str = ""
    """Gateway that holds the files, whose paths are relative to its data folder; empty where they
    are absolute."""

    @classmethod
    def from_arguments(cls, arguments: Sequence[Any]) -> Self:
        """Return the task that a workflow was started with."""
        if not is_of_0_1(arguments):
            return cls.from_json(arguments[0])
        study_uid, series_uid, paths = arguments or ("", "", ())  # 0.1
        return cls(study_uid, series_uid, tuple(map(Path, paths)))


@dataclass(frozen=True)
class DeliveryTask(Record):
    """One result to deliver to one peer: the input of a delivery workflow."""

    series_uid: str
    """The series that was segmented, for the log."""
    peer: str
    item: str
    """Name of the `ResultObject`, such as "seg"."""
    file: Path
    kind: ObjectKind | None = ObjectKind.SEG
    """None: a receipt."""
    after: str = ""
    """Item, and for a delivery that is queued its workflow, that the peer must have first."""
    holder: str = ""
    """Gateway that holds the file, as `SeriesTask.holder`."""

    @classmethod
    def from_arguments(cls, arguments: Sequence[Any]) -> Self:
        """Return the task that a workflow was started with."""
        if not is_of_0_1(arguments):
            return cls.from_json(arguments[0])
        # 0.1 had no word for the item but the file's name: "<job>.report-lesions.dcm"
        series_uid, peer, file = arguments or ("", "", "")
        item = item_name(Path(file))
        return cls(series_uid, peer, item, Path(file), ObjectKind(item.partition("-")[0]))


@dataclass(frozen=True)
class SegmentResult(Record):
    """Result of the segment step."""

    outcome: Outcome
    deliveries: tuple[DeliveryTask, ...] = ()
    holder: str = ""
    """Gateway that holds the results, as `SeriesTask.holder` holds the received files."""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the result that `to_json` wrote."""
        deliveries = [
            each if isinstance(each, Mapping) else _delivery_of_0_1(*each)
            for each in stored["deliveries"]
        ]
        return super().from_json({**stored, "deliveries": deliveries})


def _delivery_of_0_1(peer: str, item: str, file: str) -> dict[str, str]:
    kind = item.partition("-")[0]
    return {"series_uid": "", "peer": peer, "item": item, "file": file, "kind": kind}
