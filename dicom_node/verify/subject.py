"""Proof that a result is of the patient and the study of its sources."""

from collections.abc import Iterable

from pydicom import Dataset

from dicom_node.attributes import identifying_text

SAME = (
    "StudyInstanceUID",
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
)
"""Attributes that a result and its sources must agree on, empty or not."""


def differing(result: Dataset, sources: Iterable[Dataset]) -> str | None:
    """Return the keyword of an attribute that is not the same in every source, or None."""
    expected = {keyword: identifying_text(result, keyword) for keyword in SAME}
    for source in sources:
        for keyword in SAME:
            if identifying_text(source, keyword) != expected[keyword]:
                return keyword
    return None
