"""Series that are segmented, and the reasons for refusing others."""

from datetime import date

from dicom_node.conformance.markdown import code, table
from dicom_node.retrieve.dimse import SERIES_KEYS, STUDY_KEYS
from dicom_node.retrieve.query import StudyQuery
from dicom_node.series.kinds import SeriesKind


def geometry_table() -> str:
    """Return what the instances of a series can form, and the answer to each."""
    return table(
        ("What the instances form", "Answer", "What would do"),
        ((each.value, each.answer.value, each.remedy) for each in SeriesKind),
    )


def query_table() -> str:
    """Return the keys of the queries that the node sends."""
    matched = tuple(StudyQuery("1.2", date.today(), "CT").attributes)
    studies = (*matched, *(key for key in STUDY_KEYS if key not in matched))
    return table(
        ("Level", "Matched", "Returned"),
        (
            ("STUDY", _listed(matched), _listed(studies)),
            ("SERIES", code("StudyInstanceUID"), _listed(SERIES_KEYS)),
            (
                "IMAGE, to confirm a delivery",
                _listed(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")),
                code("SOPInstanceUID"),
            ),
        ),
    )


def _listed(keys: tuple[str, ...]) -> str:
    return ", ".join(code(key) for key in keys)
