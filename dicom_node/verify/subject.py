"""Proof that a result is of the patient and the study of its sources."""

from collections.abc import Iterable

from pydicom import Dataset

from dicom_node.attributes import identifying_text, written_form

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
    # Nearly always the same bytes in every slice; to decode them again takes a tenth of a second.
    agreeing = set[tuple[object, ...]]()
    for source in sources:
        character_set = written_form(source, "SpecificCharacterSet")
        for keyword in SAME:
            form = keyword, character_set, written_form(source, keyword)
            if None not in form and form in agreeing:
                continue
            if identifying_text(source, keyword) != expected[keyword]:
                return keyword
            agreeing.add(form)
    return None
