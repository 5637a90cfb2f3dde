"""Segments of a SEG that are liver or tumour, and its author, for SEGs of any software."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from engine.volume import Label

LIVER = (codes.SCT.Liver,)
TUMOUR = (
    codes.SCT.Neoplasm,
    codes.SCT.NeoplasmPrimary,
    codes.SCT.NeoplasmSecondary,
    codes.SCT.Metastasis,
    codes.SCT.Mass,
    codes.SCT.Lesion,
    Code("86049000", "SCT", "Malignant neoplasm, primary"),
    Code("25370001", "SCT", "Hepatocellular carcinoma"),
    Code("126851005", "SCT", "Neoplasm of liver"),
    Code("94381002", "SCT", "Secondary malignant neoplasm of liver"),
    Code("300331000", "SCT", "Lesion of liver"),
)
"""Segmented Property Types; the older SRT codes are equal to theirs in SNOMED CT."""

TUMOUR_WORDS = re.compile(r"\b(tumou?r|lesion|metastas[ei]s|neoplasm|hcc)", re.IGNORECASE)
LIVER_WORDS = re.compile(r"\b(liver|hepar)\b", re.IGNORECASE)

DEFAULT_NAME = re.compile(r"segment[ _-]?\d+", re.IGNORECASE)
"""Segment Label that a viewer gives a segment which nobody has named."""

BY_PERSONS = frozenset({"MANUAL", "SEMIAUTOMATIC"})
"""Segment Algorithm Types of what a person drew, or had drawn and looked at."""

MARKED = {Label.LIVER: LIVER, Label.TUMOUR: TUMOUR}


class Author(StrEnum):
    """Author of a segmentation."""

    HEPAR = "Hepar"
    MACHINE = "another machine"
    PERSON = "a person"


@dataclass(frozen=True)
class Annotation:
    """Author, source series and segments of a SEG, from its header."""

    series_uid: str
    """Series Instance UID of the source; empty where the SEG does not name it."""
    author: Author
    """A person as soon as one segment is MANUAL or SEMIAUTOMATIC (0062,0008)."""
    after_hepar: bool
    """Hepar stands among the equipment that contributed."""
    marks: frozenset[Label]
    """Labels of its segments, empty or not."""
    drawn: frozenset[Label]
    """Those of which a person drew a segment; software may keep a machine's beside it."""
    content_label: str
    written: str
    """Content Date and Time, so that the newest sorts last."""
    instances: frozenset[str] = frozenset()
    """SOP Instance UIDs that it names of the source."""


def describe_segmentation(seg: Dataset) -> Annotation:
    """Describe a SEG from its header."""
    by_hepar = seg.get("Manufacturer") == "Hepar"
    machine = Author.HEPAR if by_hepar else Author.MACHINE
    contributors = [
        str(each.get("Manufacturer")) for each in seg.get("ContributingEquipmentSequence", ())
    ]
    return Annotation(
        series_uid=drawn_on(seg),
        author=Author.PERSON if _by_persons(seg) else machine,
        after_hepar=by_hepar or "Hepar" in contributors,
        marks=frozenset(label for label in MARKED if segments_of(seg, label)),
        drawn=drawn_by_persons(seg),
        content_label=str(seg.get("ContentLabel") or ""),
        written=f"{seg.get('ContentDate') or ''}{seg.get('ContentTime') or ''}",
        instances=frozenset(
            str(each.ReferencedSOPInstanceUID)
            for series in seg.get("ReferencedSeriesSequence") or ()
            for each in series.get("ReferencedInstanceSequence") or ()
        ),
    )


def describe_metadata(metadata: Mapping[str, Any]) -> Annotation:
    """Return the same of a SEG's metadata in JSON (PS3.18 F), as WADO-RS gives it."""
    return describe_segmentation(Dataset.from_json(dict(metadata)))


def drawn_on(seg: Dataset) -> str:
    """Return the UID of the series that a SEG refers to; empty where it names none or several."""
    uids = {str(each.SeriesInstanceUID) for each in seg.get("ReferencedSeriesSequence") or ()}
    return uids.pop() if len(uids) == 1 else ""


def drawn_by_persons(seg: Dataset) -> frozenset[Label]:
    """Return the labels of which a person drew a segment.

    Who draws one lesion among those of a machine has looked at them all, so they count as drawn.
    """
    numbers = _by_persons(seg)
    return frozenset(label for label in MARKED if numbers & set(segments_of(seg, label)))


def segments_of(seg: Dataset, label: Label) -> list[int]:
    """Return the numbers of the segments that mark `label`.

    Tumours elsewhere, by their anatomic region, are left out. Where the code is no more specific
    than "Tissue", as OHIF writes it for every segment that was edited in it, the words of the
    Segment Label count.
    """
    return [
        int(item.SegmentNumber)
        for item in seg.get("SegmentSequence") or ()
        for kind in item.get("SegmentedPropertyTypeCodeSequence") or ()
        if _in_liver(item) and _means(_code(kind), str(item.get("SegmentLabel") or "")) is label
    ]


def unnamed_segments(seg: Dataset) -> list[int]:
    """Return the numbers of the segments that neither a code nor a label gives a meaning."""
    return [
        int(item.SegmentNumber)
        for item in seg.get("SegmentSequence") or ()
        for kind in item.get("SegmentedPropertyTypeCodeSequence") or ()
        if _code(kind) == codes.SCT.Tissue
        and DEFAULT_NAME.fullmatch(str(item.get("SegmentLabel") or "").strip())
    ]


def _by_persons(seg: Dataset) -> set[int]:
    """Return the numbers of the segments that a person drew."""
    return {
        int(each.SegmentNumber)
        for each in seg.get("SegmentSequence") or ()
        if str(each.get("SegmentAlgorithmType")) in BY_PERSONS
    }


def _means(kind: Code, words: str) -> Label | None:
    for label, codes_of in MARKED.items():
        if kind in codes_of:
            return label
    # A code that says what it is counts, whatever the label says.
    if kind != codes.SCT.Tissue:
        return None
    # Before the liver: "liver tumour" has both words.
    if TUMOUR_WORDS.search(words):
        return Label.TUMOUR
    return Label.LIVER if LIVER_WORDS.search(words) else None


def _in_liver(item: Dataset) -> bool:
    regions = item.get("AnatomicRegionSequence") or ()
    return not regions or any(_code(region) in LIVER for region in regions)


def _code(item: Dataset) -> Code:
    """Return the code of an item; without its meaning, which has no part in a comparison."""
    value = item.get("CodeValue") or item.get(
        "LongCodeValue"
    )  # LO where SH is too short (PS3.3 8.8)
    return Code(str(value), str(item.get("CodingSchemeDesignator")), "")
