"""Measurement groups of a report, read from its own attributes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydicom import Dataset

from dicom_node.errors import ResultMismatch

GROUPS, GROUP, TRACKING_UID = "126010", "125007", "112040"
"""Concept names in TID 1500 and 1411 (DCM)."""
VOLUME, LONG_AXIS, SHORT_AXIS, DENSITY = "118565006", "103339001", "103340004", "112031"
MEAN, DEVIATION, LESIONS = "373098007", "386136009", "246206008"
AXES = (LONG_AXIS, SHORT_AXIS)
QUALITY, CONCERN, COMMENT = "111050", "111052", "121106"

Numbers = Mapping[tuple[str, ...], float]
"""Code of a measurement, and of its derivation where it has one, to its value."""


@dataclass(frozen=True)
class Line:
    """A straight line on an image."""

    image: tuple[str, int | None]
    """SOP Instance UID, and frame number in a multi-frame instance."""
    points: tuple[float, ...]
    """Column and row of one end, then of the other; the first pixel's centre is 0.5, 0.5."""


@dataclass(frozen=True)
class Group:
    """All that a report has of one finding."""

    tracking_uid: str
    segment: tuple[str, int] | None
    """SOP Instance UID of the SEG, and segment number."""
    numbers: Numbers
    lines: Mapping[str, Line]
    """Code of a diameter to its line."""
    evaluations: tuple[tuple[str, str], ...]
    """Codes of name and value."""
    comments: tuple[str, ...] = ()


def read_groups(report: Dataset) -> list[Group]:
    """Return the measurement groups of a report, in order; those of one Tracking UID as one.

    Raises:
        ResultMismatch: two groups of one finding refer to two segments.
    """
    (groups,) = _children(report, GROUPS)
    merged: dict[str, Group] = {}
    for item in _children(groups, GROUP):
        group = _group(item)
        known = merged.get(group.tracking_uid)
        merged[group.tracking_uid] = _merge(known, group) if known else group
    return list(merged.values())


def _merge(first: Group, second: Group) -> Group:
    if (first.segment and second.segment) or set(first.numbers) & set(second.numbers):
        raise ResultMismatch("two measurement groups have one tracking UID")
    return Group(
        first.tracking_uid,
        first.segment or second.segment,
        {**first.numbers, **second.numbers},
        {**first.lines, **second.lines},
        first.evaluations + second.evaluations,
        first.comments + second.comments,
    )


def _children(item: Dataset, name: str) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", []):
        if "ConceptNameCodeSequence" in child and _name(child) == name:
            yield child


def _name(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def _group(item: Dataset) -> Group:
    (tracking,) = _children(item, TRACKING_UID)
    segments = [
        (str(image.ReferencedSOPInstanceUID), int(image.ReferencedSegmentNumber))
        for child in item.ContentSequence
        for image in child.get("ReferencedSOPSequence", [])
        if "ReferencedSegmentNumber" in image
    ]
    return Group(
        str(tracking.UID),
        segments[0] if segments else None,
        {
            _quantity(child): float(child.MeasuredValueSequence[0].NumericValue)
            for child in item.ContentSequence
            if child.ValueType == "NUM"
        },
        {_name(child): _line(child) for child in item.ContentSequence if _name(child) in AXES},
        tuple(
            (_name(child), str(child.ConceptCodeSequence[0].CodeValue))
            for child in item.ContentSequence
            if child.ValueType == "CODE" and _name(child) in (QUALITY, CONCERN)
        ),
        tuple(str(child.TextValue) for child in _children(item, COMMENT)),
    )


def _line(number: Dataset) -> Line:
    (drawn,) = [each for each in number.ContentSequence if each.ValueType == "SCOORD"]
    (image,) = drawn.ContentSequence[0].ReferencedSOPSequence
    if drawn.GraphicType != "POLYLINE":
        raise ResultMismatch(f"a diameter is drawn as {drawn.GraphicType}")
    frame = image.get("ReferencedFrameNumber")
    points = tuple(float(number) for number in drawn.GraphicData)
    return Line((str(image.ReferencedSOPInstanceUID), int(frame) if frame else None), points)


def _quantity(number: Dataset) -> tuple[str, ...]:
    derivations = _children(number, "121401")
    return _name(number), *(str(each.ConceptCodeSequence[0].CodeValue) for each in derivations)
