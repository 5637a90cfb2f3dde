"""Proof that a report has the measured numbers, each of the segment that was measured.

Read from the file's own attributes, on purpose without highdicom and without anything of
`dicom_node.results.report`, as `dicom_node.verify.seg` does for the SEG.
"""

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from dicom_node.errors import ResultMismatch
from dicom_node.sop_classes import LABEL_MAP_SEGMENTATION
from dicom_node.verify.report_groups import (
    CONCERN,
    DENSITY,
    DEVIATION,
    LESIONS,
    LONG_AXIS,
    MEAN,
    QUALITY,
    SHORT_AXIS,
    VOLUME,
    Group,
    Numbers,
    read_groups,
)
from dicom_node.verify.report_lines import check_lines
from dicom_node.verify.seg import MEANS
from dicom_node.verify.subject import differing
from engine.findings.measure import Axes, Lesion, Measurements, Region
from engine.findings.quality import Quality
from engine.volume import Label, LabelMap

TOLERANCE = 0.001
"""Of any number, in its unit; the report rounds to as much."""


def verify_report(
    report_file: Path | bytes,
    seg: Dataset,
    label_map: LabelMap,
    measured: Measurements,
    quality: Quality,
    sources: Sequence[Dataset],
    *,
    remark: str = "",
) -> None:
    """Return if the report has these numbers, each tied to the segment of the SEG it is about.

    Beside the details of the quality it comments `remark` alone, which may be empty.

    Raises:
        ResultMismatch: names what differs.
    """
    report = _read(report_file)
    if keyword := differing(report, [seg]):
        raise ResultMismatch(f"{keyword} of the report is not the SEG's")  # no patient in a log
    try:
        groups = read_groups(report)
    except (AttributeError, IndexError, ValueError) as error:  # an attribute is missing
        raise ResultMismatch(f"report cannot be read back: {error!r}") from error
    # The order is that of the report: the liver, each lesion, the whole liver last.
    *regions, whole = groups
    _check_segments(regions, seg, liver=measured.liver is not None)
    _check_numbers(regions, measured)
    _check_whole(whole, measured, quality)
    _check_comments(whole, (*quality.details, *([remark] if remark else [])))
    _check_volumes(groups, label_map)
    check_lines(groups, label_map, sources, liver=measured.liver is not None)


def _read(report_file: Path | bytes) -> Dataset:
    try:
        return dcmread(BytesIO(report_file) if isinstance(report_file, bytes) else report_file)
    except (InvalidDicomError, EOFError) as error:
        raise ResultMismatch(f"report cannot be read back: {error}") from error


def _check_segments(groups: Sequence[Group], seg: Dataset, *, liver: bool) -> None:
    kinds = {
        int(each.SegmentNumber): MEANS[each.SegmentedPropertyTypeCodeSequence[0].CodeValue]
        for each in seg.SegmentSequence
    }
    if seg.SOPClassUID == LABEL_MAP_SEGMENTATION:
        _check_tied_by_uid(groups, seg, liver=liver)
        return
    for index, group in enumerate(groups):
        wanted = Label.LIVER if liver and index == 0 else Label.TUMOUR
        if group.segment is None or group.segment[0] != seg.SOPInstanceUID:
            raise ResultMismatch(f"measurement group {index + 1} refers to {group.segment}")
        if kinds.get(group.segment[1]) is not wanted:
            raise ResultMismatch(
                f"measurement group {index + 1} refers to segment {group.segment[1]},"
                f" which is no {wanted.name.lower()}"
            )
    tracked = {int(each.SegmentNumber): each.get("TrackingUID") for each in seg.SegmentSequence}
    for index, group in enumerate(groups):
        own = tracked[group.segment[1]] if group.segment else None
        if own and own != group.tracking_uid:
            raise ResultMismatch(f"measurement group {index + 1} is of another lesion's segment")


def _check_tied_by_uid(groups: Sequence[Group], seg: Dataset, *, liver: bool) -> None:
    """A report names no segment of a label map; where lesions have segments, their UIDs are it."""
    tracked = [each.TrackingUID for each in seg.SegmentSequence if "TrackingUID" in each]
    lesions = [group.tracking_uid for group in groups][1 if liver else 0 :]
    if tracked and tracked != lesions:
        raise ResultMismatch("lesions of the report are not the segments of the label map")
    if any(group.segment for group in groups):
        raise ResultMismatch("a measurement group refers to a segment of a label map")


def _check_numbers(groups: Sequence[Group], measured: Measurements) -> None:
    expected: list[Numbers] = []
    if measured.liver:
        expected.append({**_of_region(measured.liver), **_of_axes(measured.liver_axes)})
    expected += [_of_lesion(lesion) for lesion in measured.lesions]
    if len(groups) != len(expected):
        raise ResultMismatch(f"{len(groups)} regions are reported, {len(expected)} were measured")
    for index, (group, numbers) in enumerate(zip(groups, expected, strict=True), start=1):
        _check_same(group.numbers, numbers, f"measurement group {index}")


def _of_region(region: Region) -> Numbers:
    return {
        (VOLUME,): region.volume_ml,
        (DENSITY, MEAN): region.mean_hu,
        (DENSITY, DEVIATION): region.sd_hu,
    }


def _of_axes(axes: Axes | None) -> Numbers:
    return {(LONG_AXIS,): axes.longest_mm, (SHORT_AXIS,): axes.perpendicular_mm} if axes else {}


def _of_lesion(lesion: Lesion) -> Numbers:
    return {
        **_of_region(lesion.region),
        (LONG_AXIS,): lesion.longest_mm,
        (SHORT_AXIS,): lesion.perpendicular_mm,
    }


def _check_whole(group: Group, measured: Measurements, quality: Quality) -> None:
    expected: Numbers = {
        **_of_axes(measured.whole_axes),
        (VOLUME,): measured.liver_ml,
        (LESIONS,): len(measured.lesions),
        ("tumour-volume",): measured.tumour_ml,
        ("tumour-burden",): measured.burden_percent,
    }
    _check_same(group.numbers, expected, "measurement group of the whole liver")
    stated = [value for name, value in group.evaluations if name == QUALITY]
    concerns = [value for name, value in group.evaluations if name == CONCERN]
    expected_concerns = [each.name.lower().replace("_", "-") for each in quality.concerns]
    if stated != [quality.statement.value] or concerns != expected_concerns:
        raise ResultMismatch(
            f"the report says {stated} and {concerns} of the quality, not {quality.statement}"
        )


def _check_comments(group: Group, expected: tuple[str, ...]) -> None:
    if group.comments != expected:
        raise ResultMismatch(f"the report comments {list(group.comments)}, not {list(expected)}")


def _check_same(found: Numbers, expected: Numbers, where: str) -> None:
    if set(found) != set(expected):
        raise ResultMismatch(f"{where} has {sorted(found)}, not {sorted(expected)}")
    for name, value in expected.items():
        if not math.isclose(found[name], value, rel_tol=0, abs_tol=TOLERANCE):
            raise ResultMismatch(f"{where} says {found[name]} of {name}, measured was {value}")


def _check_volumes(groups: Sequence[Group], label_map: LabelMap) -> None:
    """Hold the report against the label map itself, whatever was measured between."""
    reported = sum(group.numbers[VOLUME,] for group in groups[:-1])
    drawn = sum(label_map.millilitres(label) for label in (Label.LIVER, Label.TUMOUR))
    for ml in (reported, groups[-1].numbers[VOLUME,]):
        if abs(ml - drawn) > TOLERANCE / 2 * (len(groups) + 1):  # each of them was rounded
            raise ResultMismatch(f"{ml:.3f} ml are reported, {drawn:.3f} ml are in the label map")
