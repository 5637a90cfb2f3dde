"""Proof that a result is of the patient and the study of its sources."""

from collections.abc import Iterable

from pydicom import Dataset
from pydicom.dataelem import RawDataElement

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
    expected = {keyword: _meaning(result, keyword) for keyword in SAME}
    for source in sources:
        for keyword in SAME:
            if _meaning(source, keyword) != expected[keyword]:
                return keyword
    return None


def _meaning(dataset: Dataset, keyword: str) -> str:
    """Return a value without what carries no meaning.

    Spaces around it, carets at the end of a name's group and empty groups at the end of a name
    (PS3.5 6.2 and 6.2.1): DOE^JANE^^^ is DOE^JANE.
    """
    text = _text(dataset, keyword).strip(" \0")
    if keyword != "PatientName":
        return text
    groups = [group.rstrip(" ^") for group in text.split("=")]
    return "=".join(groups).rstrip("=")


def _text(dataset: Dataset, keyword: str) -> str:
    """Return a value as text; bytes that its character set cannot decode differ as they do.

    Decoded in a copy, so that the data set keeps its bytes.
    """
    if keyword not in dataset:
        return ""
    element = dataset.get_item(keyword)
    if not isinstance(element, RawDataElement):
        return str(dataset[keyword].value or "")
    copy = Dataset()
    for tag in ("SpecificCharacterSet", keyword):
        if tag in dataset:
            copy[tag] = dataset.get_item(tag)
    text = str(copy[keyword].value or "")
    return repr(element.value.strip(b" \0")) if "\ufffd" in text else text
