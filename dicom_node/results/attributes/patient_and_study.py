"""Patient, study and order of a result, copied from its source as they are."""

from copy import deepcopy

import highdicom as hd
from pydicom import DataElement, Dataset
from pydicom.tag import BaseTag, Tag

from dicom_node.results.attributes.model_run import utc_offset
from dicom_node.results.attributes.raw_bytes import raw_text, view
from dicom_node.results.attributes.values import fitting, is_valid

IDENTITY = frozenset(
    map(
        Tag,
        (
            *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
            *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
        ),
    )
)
"""Attributes by which an archive finds patient and study: copied even where they are invalid."""

ORDER = "RequestAttributesSequence"


class _Copied(hd.SOPClass):
    """The attributes of the two modules alone, without those that an object of highdicom has."""

    def __init__(self) -> None:
        Dataset.__init__(self)


def copy_patient_and_study(result: hd.SOPClass, source: Dataset) -> None:
    """Copy patient, study, time zone and order from a source image.

    Text is copied as bytes: what the stated character set cannot decode stays what it is.
    A number, age, date or time that is not valid is rounded if it can be and left out if not,
    unless it is one of `IDENTITY`.
    """
    copied = _Copied()
    # Asking decodes: of the view here, so that `raw_text` still finds the source's own bytes.
    copied.copy_patient_and_study_information(view(source))
    for tag in sorted(copied.keys()):
        _mend(copied, tag)
    # After the repairs, which decode what they look at: the last word on a text is its bytes.
    for tag, raw in raw_text(source):
        if tag in copied:
            copied[tag] = raw
    for tag in sorted(copied.keys()):
        result[tag] = copied.get_item(tag)
    # The copied bytes mean nothing without it; highdicom's own texts are ASCII in any set.
    if source.get("SpecificCharacterSet"):
        result.SpecificCharacterSet = source.SpecificCharacterSet
    if utc_offset(source) is not None:
        result.TimezoneOffsetFromUTC = str(source.TimezoneOffsetFromUTC).strip()


def copy_order(result: Dataset, source: Dataset) -> None:
    """Copy the order that the images were made for (PS3.3, table 10-9)."""
    if source.get(ORDER):
        result.RequestAttributesSequence = [_public(item) for item in source[ORDER].value]


def refer_to_order(report: Dataset, source: Dataset) -> None:
    """Name the order in a document, which has no Request Attributes Sequence (PS3.3 C.17.2)."""
    items = [_referenced(item, source) for item in source.get(ORDER) or []]
    if items:
        report.ReferencedRequestSequence = items


def _referenced(order: Dataset, source: Dataset) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = order.get("StudyInstanceUID") or source.StudyInstanceUID
    item.ReferencedStudySequence = []
    for keyword in (  # all of type 2
        "AccessionNumber",
        "PlacerOrderNumberImagingServiceRequest",
        "FillerOrderNumberImagingServiceRequest",
        "RequestedProcedureID",
        "RequestedProcedureDescription",
    ):
        setattr(item, keyword, order.get(keyword) or "")
    item.AccessionNumber = item.AccessionNumber or source.get("AccessionNumber") or ""
    codes = order.get("RequestedProcedureCodeSequence") or []
    item.RequestedProcedureCodeSequence = [_public(code) for code in codes]
    return item


def _mend(result: Dataset, tag: BaseTag) -> None:
    element = result[tag]
    if tag in IDENTITY or element.is_empty:
        return
    if element.VR == "SQ":
        result[tag] = DataElement(tag, "SQ", [_public(item) for item in element.value])
    # A weight such as 71.99999999999999 is of use when rounded; a wrong date is not.
    elif element.VR == "DS" and element.VM == 1 and (mended := fitting(element.value)) is not None:
        result[tag] = DataElement(tag, "DS", mended)
    elif not is_valid(element.VR, element.value):
        del result[tag]


def _public(item: Dataset) -> Dataset:
    copied = deepcopy(item)
    # Private items of an order are unknown here, and may state what no result should spread.
    copied.remove_private_tags()
    return copied
