"""The content tree of a report (PS3.16, TID 1500), as examples of it show."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pydicom import Dataset

from dicom_node.conformance.attributes import triplet
from dicom_node.conformance.examples import Example
from dicom_node.conformance.markdown import table

Path = tuple[tuple[str, str, str], ...]
"""From the root down: relationship, value type, code of the concept."""

HEADER = ("Level", "Relationship", "Value type", "Concept", "Presence", "Value")
MOST = 3
"""Values that are listed; where there are more, they are in the tables of codes."""


@dataclass
class Tree:
    """Observations of each place in the tree."""

    items: dict[Path, list[Dataset]] = field(default_factory=dict)
    containers: Counter[Path] = field(default_factory=Counter)
    """Number of parents."""
    holders: Counter[Path] = field(default_factory=Counter)
    """Number of parents with at least one."""


def content_table(made: Sequence[Example]) -> str:
    """Return the table of content items, each below its parent."""
    tree = Tree()
    for each in made:
        _walk(each.made, (), tree)
    return table(HEADER, (_row(path, tree) for path in _in_order(tree)))


def _walk(parent: Dataset, above: Path, tree: Tree) -> None:
    tree.containers[above] += 1
    places = set()
    for item in parent.get("ContentSequence", ()):
        path = (*above, _place(item))
        places.add(path)
        tree.items.setdefault(path, []).append(item)
        _walk(item, path, tree)
    tree.holders.update(places)


def _in_order(tree: Tree, above: Path = ()) -> Iterator[Path]:
    for path in list(tree.items):
        if path[:-1] == above:
            yield path
            yield from _in_order(tree, path)


def _place(item: Dataset) -> tuple[str, str, str]:
    concept = item.get("ConceptNameCodeSequence")
    return item.RelationshipType, item.ValueType, concept[0].CodeValue if concept else ""


def _row(path: Path, tree: Tree) -> tuple[str, ...]:
    items = tree.items[path]
    relationship, kind, _ = path[-1]
    concept = items[0].get("ConceptNameCodeSequence")
    often = "ALWAYS" if tree.holders[path] == tree.containers[path[:-1]] else "ANAP"
    return (
        ">" * len(path),
        relationship,
        kind,
        triplet(concept[0]) if concept else "",
        often,
        _values(kind, items),
    )


def _values(kind: str, items: Sequence[Dataset]) -> str:
    if kind == "NUM":
        measured = (each.MeasuredValueSequence[0] for each in items)
        return _listed({triplet(each.MeasurementUnitsCodeSequence[0]) for each in measured})
    if kind == "CODE":
        return _listed({triplet(each.ConceptCodeSequence[0]) for each in items})
    if kind == "TEXT":
        return _listed({str(each.TextValue) for each in items}, most=1)
    if kind == "IMAGE":
        return _listed({each.ReferencedSOPSequence[0].ReferencedSOPClassUID.name for each in items})
    return ""


def _listed(values: set[str], most: int = MOST) -> str:
    return "; ".join(sorted(values)) if len(values) <= most else ""
