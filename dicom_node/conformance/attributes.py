"""Table of an object's attributes, derived from example objects."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.tag import BaseTag
from pydicom.valuerep import PersonName

from dicom_node.conformance.examples import Example
from dicom_node.conformance.markdown import table

Path = tuple[BaseTag, ...]
"""Tags from the data set down to an attribute; items of a sequence count as one."""

HEADER = ("Attribute", "Tag", "VR", "Presence", "Source", "Value")
CONTENT = BaseTag(0x0040A730)
"""Content Sequence; it has a table of its own (`content`)."""

ALWAYS, SOMETIMES_EMPTY, SOMETIMES_ABSENT, EMPTY = "ALWAYS", "VNAP", "ANAP", "EMPTY"
FIXED, COPY, AUTO = "FIXED", "COPY", "AUTO"
"""PS3.2 A.8.1: how regularly a value is there, and where it comes from."""

OPEN = ("ReferencedSOPClassUID", "ImageOrientationPatient", "Rows", "Columns")
"""Attributes with one value in all examples that differ in other series."""

MOST_CODES = 3
LONGEST = 60
"""Characters of a fixed value that are shown."""


@dataclass(frozen=True)
class Observation:
    """An attribute in one item of one example."""

    example: int
    element: DataElement


@dataclass
class Observations:
    """Everything that was seen in the examples of one object."""

    found: dict[Path, list[Observation]]
    containers: Counter[Path]
    """Number of data sets or items that could have held the attribute."""


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    path: Path
    cells: tuple[str, ...]


def attribute_table(made: Sequence[Example], notes: Mapping[str, str]) -> str:
    """Return the table of an object's attributes.

    Args:
        made: examples of it.
        notes: keyword to the description of a value that varies.
    """
    return table(HEADER, (row.cells for row in rows(made, notes)))


def difference_table(
    made: Sequence[Example], other: Sequence[Example], notes: Mapping[str, str]
) -> str:
    """Return only the rows that `other` does not have in the same way, each below its parents."""
    all_rows, known = list(rows(made, notes)), set(rows(other, notes))
    differ = {row.path for row in all_rows if row not in known}
    shown = {path[:length] for path in differ for length in range(1, len(path) + 1)}
    return table(HEADER, (row.cells for row in all_rows if row.path in shown))


def rows(made: Sequence[Example], notes: Mapping[str, str]) -> Iterator[Row]:
    """Yield one row for each attribute that any example has."""
    seen = observe([each.made for each in made])
    for path in sorted(seen.found):
        found = seen.found[path]
        element = found[0].element
        source = _source(path, found, made)
        cells = (
            f"{'>' * (len(path) - 1)}{element.name}",
            f"({element.tag.group:04X},{element.tag.element:04X})",
            element.VR,
            _presence(found, seen.containers[path[:-1]]),
            source,
            _coded(found)
            or (_shown(element) if source == FIXED else notes.get(element.keyword, "")),
        )
        yield Row(path, cells)


def observe(datasets: Sequence[Dataset]) -> Observations:
    """Return what is in the data sets, down to the last item."""
    seen = Observations(defaultdict(list), Counter())
    for example, dataset in enumerate(datasets):
        _walk(dataset, (), example, seen)
    return seen


def _walk(dataset: Dataset, above: Path, example: int, seen: Observations) -> None:
    seen.containers[above] += 1
    for element in dataset:
        path = (*above, element.tag)
        if above and above[0] == CONTENT:
            continue
        seen.found[path].append(Observation(example, element))
        if element.VR == "SQ" and not _is_code(element):
            for item in element.value:
                _walk(item, path, example, seen)


def _presence(found: Sequence[Observation], containers: int) -> str:
    empty = sum(each.element.is_empty for each in found)
    if len(found) < containers:
        return SOMETIMES_ABSENT
    if empty == len(found):
        return EMPTY
    return SOMETIMES_EMPTY if empty else ALWAYS


def _is_code(element: DataElement) -> bool:
    return element.VR == "SQ" and any("CodeValue" in item for item in element.value)


def _coded(found: Sequence[Observation]) -> str:
    """Write the codes of a code sequence in one cell, if they are few."""
    items = [item for each in found if _is_code(each.element) for item in each.element.value]
    known = {triplet(item) for item in items}
    return "; ".join(sorted(known)) if len(known) <= MOST_CODES else ""


def triplet(item: Dataset) -> str:
    """Return a code as (value, scheme, meaning)."""
    return f"({item.CodeValue}, {item.CodingSchemeDesignator}, {item.CodeMeaning})"


def _source(path: Path, found: Sequence[Observation], made: Sequence[Example]) -> str:
    if _is_copied(path, found, made):
        return COPY
    if found[0].element.VR == "SQ" or all(each.element.is_empty for each in found):
        return ""
    if found[0].element.keyword in OPEN:
        return AUTO
    return FIXED if len({_comparable(each.element.value) for each in found}) == 1 else AUTO


def _is_copied(path: Path, found: Sequence[Observation], made: Sequence[Example]) -> bool:
    """Return whether a value is its source's, and follows where the sources differ."""
    if len(path) > 1:
        return False
    (tag,) = path
    there = [each.source for each in made if tag in each.source]
    if len(there) != len(found) or any(
        tag not in made[each.example].source
        or made[each.example].source[tag].value != each.element.value
        for each in found
    ):
        return False
    differ = len({_comparable(each[tag].value) for each in there}) > 1
    # The same value everywhere, in sources and results, could be a fixed one as well.
    return differ or len(there) < len(made)


def _comparable(value: Any) -> str:
    return str(value) if isinstance(value, (str, PersonName)) else repr(value)


def _shown(element: DataElement) -> str:
    if isinstance(element.value, bytes):
        return ""
    text = str(element.value) if element.VM == 1 else "\\".join(map(str, element.value))
    name = element.value.name if element.VR == "UI" and element.VM == 1 else text
    shown = text if name == text else f"{name}, {text}"
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"
