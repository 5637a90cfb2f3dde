"""Reasons why a series is not selected, by its headers alone.

A reason goes into logs and job lists, so it names the rule that the series breaks and never the
text that a scanner or a person wrote: descriptions do hold names.
"""

import re
from collections.abc import Mapping, Sequence

from pydicom import Dataset

from dicom_node.attributes import items_of, numbers_of, text_of, words_of
from dicom_node.selection.rules import Rules


def exclusion_reason(
    headers: Sequence[Dataset], rules: Rules, slices: int | None = None
) -> str | None:
    """Return the first rule that the instances of one stack break; None: segment them.

    Args:
        headers: the instances; pixel data may be absent.
        rules: what they must be like.
        slices: how many of their frames belong to the stack; all of them when absent.
    """
    reasons = (
        _modality(headers, rules),
        _image_type(headers, rules),
        _slices(headers, rules, slices),
        _thickness(headers, rules),
        why_not_described(headers, rules),
    )
    return next((reason for reason in reasons if reason), None)


def why_not_pull(answer: Dataset, rules: Rules) -> str | None:
    """Return the first rule that a series breaks by an archive's answer; None: worth fetching.

    Args:
        answer: the attributes that came with the answer to a query; many stay empty.
        rules: what the series must be like.
    """

    def known(patterns: Mapping[str, str]) -> dict[str, str]:
        return {keyword: each for keyword, each in patterns.items() if text_of(answer, keyword)}

    testable = rules.model_copy(
        update={"include": known(rules.include), "exclude": known(rules.exclude)}
    )
    return _modality([answer], testable) or why_not_described([answer], testable)


def _modality(headers: Sequence[Dataset], rules: Rules) -> str | None:
    other = {text_of(header, "Modality") or "absent" for header in headers} - {*rules.modalities}
    if other:
        return f"Modality is {_listed(other)}, not {_listed(rules.modalities)}"
    return None


def _image_type(headers: Sequence[Dataset], rules: Rules) -> str | None:
    for header in headers:
        values = {*words_of(header, "ImageType")}
        if refused := values & {*rules.refused_image_types}:
            return f"ImageType holds {_listed(refused)}"
        if rules.image_types and not values & {*rules.image_types}:
            return f"ImageType holds none of {_listed(rules.image_types)}"
    return None


def _slices(headers: Sequence[Dataset], rules: Rules, slices: int | None) -> str | None:
    if slices is None:
        slices = sum(int(_number(header, "NumberOfFrames") or 1) for header in headers)
    return _outside("slices", slices, (rules.min_slices, rules.max_slices))


def _thickness(headers: Sequence[Dataset], rules: Rules) -> str | None:
    if rules.min_thickness_mm is None and rules.max_thickness_mm is None:
        return None
    for header in headers:
        thickness = thickness_mm(header)
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
            if not re.search(pattern, text_of(header, keyword), re.IGNORECASE):
                return f"{keyword} does not match include {pattern!r}"
        for keyword, pattern in rules.exclude.items():
            if re.search(pattern, text_of(header, keyword), re.IGNORECASE):
                return f"{keyword} matches exclude {pattern!r}"
    return None


def thickness_mm(header: Dataset) -> float | None:
    """Return SliceThickness, which an enhanced image keeps in its shared functional groups."""
    for groups in items_of(header, "SharedFunctionalGroupsSequence"):
        for measures in items_of(groups, "PixelMeasuresSequence"):
            header = measures
    return _number(header, "SliceThickness")


def _number(header: Dataset, keyword: str) -> float | None:
    return (numbers_of(header, keyword, 1) or (None,))[0]


def _outside(what: str, value: float, limits: tuple[float | None, float | None]) -> str | None:
    least, most = limits
    if least is not None and value < least:
        return f"{what}: {value:g}, at least {least:g} required"
    if most is not None and value > most:
        return f"{what}: {value:g}, at most {most:g} required"
    return None


def _listed(words: Sequence[str] | set[str]) -> str:
    return ", ".join(sorted(words))
