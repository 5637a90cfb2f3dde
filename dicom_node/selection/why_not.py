"""Reasons for which a series is not selected.

The rules look at headers only, before anything is computed. The reasons go into logs and job
lists, so it names the rule that a series fell by and never the text that a scanner or a person
wrote: descriptions do hold names.
"""

import re
from collections.abc import Mapping, Sequence

from pydicom import Dataset

from dicom_node.selection.rules import Rules


def exclusion_reason(headers: Sequence[Dataset], rules: Rules) -> str | None:
    """Return the first rule that the instances of one series break; None: segment them.

    Args:
        headers: the instances; pixel data may be absent.
        rules: what they must be like.
    """
    reasons = (
        _modality(headers, rules),
        _image_type(headers, rules),
        _slices(headers, rules),
        _thickness(headers, rules),
        why_not_described(headers, rules),
    )
    return next((reason for reason in reasons if reason), None)


def why_not_pull(told: Dataset, rules: Rules) -> str | None:
    """Return the first rule that a series breaks by what an archive tells of it; None: have a look.

    Args:
        told: the attributes that came with the answer to a query; many stay empty.
        rules: what the series must be like.
    """

    def known(patterns: Mapping[str, str]) -> dict[str, str]:
        return {keyword: each for keyword, each in patterns.items() if told.get(keyword)}

    testable = rules.model_copy(
        update={"include": known(rules.include), "exclude": known(rules.exclude)}
    )
    return _modality([told], testable) or why_not_described([told], testable)


def _modality(headers: Sequence[Dataset], rules: Rules) -> str | None:
    other = {str(header.get("Modality") or "absent") for header in headers} - {*rules.modalities}
    if other:
        return f"Modality is {_listed(other)}, not {_listed(rules.modalities)}"
    return None


def _image_type(headers: Sequence[Dataset], rules: Rules) -> str | None:
    for header in headers:
        values = _values(header, "ImageType")
        if refused := values & {*rules.refused_image_types}:
            return f"ImageType holds {_listed(refused)}"
        if rules.image_types and not values & {*rules.image_types}:
            return f"ImageType holds none of {_listed(rules.image_types)}"
    return None


def _slices(headers: Sequence[Dataset], rules: Rules) -> str | None:
    slices = sum(int(_number(header, "NumberOfFrames") or 1) for header in headers)
    return _outside("slices", slices, (rules.min_slices, rules.max_slices))


def _thickness(headers: Sequence[Dataset], rules: Rules) -> str | None:
    if rules.min_thickness_mm is None and rules.max_thickness_mm is None:
        return None
    for header in headers:
        thickness = _thickness_mm(header)
        if thickness is None:
            return "SliceThickness is absent, and a rule asks for it"
        limits = (rules.min_thickness_mm, rules.max_thickness_mm)
        if reason := _outside("SliceThickness in mm", thickness, limits):
            return reason
    return None


def why_not_described(headers: Sequence[Dataset], rules: Rules) -> str | None:
    """Return the first of the patterns that the headers break, as `exclusion_reason` does."""
    for header in headers:
        for keyword, pattern in rules.include.items():
            if not re.search(pattern, _text(header, keyword), re.IGNORECASE):
                return f"{keyword} does not match include {pattern!r}"
        for keyword, pattern in rules.exclude.items():
            if re.search(pattern, _text(header, keyword), re.IGNORECASE):
                return f"{keyword} matches exclude {pattern!r}"
    return None


def _thickness_mm(header: Dataset) -> float | None:
    """SliceThickness, which an enhanced image keeps in its shared functional groups."""
    for groups in header.get("SharedFunctionalGroupsSequence") or ():
        for measures in groups.get("PixelMeasuresSequence") or ():
            header = measures
    return _number(header, "SliceThickness")


def _number(header: Dataset, keyword: str) -> float | None:
    try:
        value = header.get(keyword)
        return None if value is None else float(value)
    except (ValueError, TypeError):  # present, but no number
        return None


def _outside(what: str, value: float, limits: tuple[float | None, float | None]) -> str | None:
    least, most = limits
    if least is not None and value < least:
        return f"{what}: {value:g}, at least {least:g} wanted"
    if most is not None and value > most:
        return f"{what}: {value:g}, at most {most:g} wanted"
    return None


def _values(header: Dataset, keyword: str) -> set[str]:
    value = header.get(keyword) or ()
    return {value} if isinstance(value, str) else {str(one) for one in value}


def _text(header: Dataset, keyword: str) -> str:
    return str(header.get(keyword) or "")


def _listed(words: Sequence[str] | set[str]) -> str:
    return ", ".join(sorted(words))
