"""Receipt: a short text report under the source study, for a series that has no result."""

from datetime import datetime

import highdicom as hd
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import BasicTextSRStorage

from dicom_node.results.attributes.model_run import now
from dicom_node.results.attributes.number_register import NumberRegister
from dicom_node.results.attributes.source_images import evidence
from dicom_node.results.attributes.values import writable
from dicom_node.results.notices.completion import UNNAMED, complete_notice

TITLE = Code("18748-4", "LN", "Diagnostic imaging report")
COMMENT = Code("121106", "DCM", "Comment")


def to_receipt(
    source: Dataset,
    verdict: str,
    reason: str,
    digest: str,
    numbers: NumberRegister,
    *,
    made_at: datetime | None = None,
) -> bytes:
    """Return a Basic Text SR (PS3.3 A.35.1) that states why a series has no result, as a file.

    Args:
        source: an instance of the series; pixels are not needed.
        verdict: how the series ended, such as "refused"; empty where a part of it has a result,
            and the reason names the others.
        reason: why, with the remedy.
        digest: of the content of the series; with the text it makes the UIDs, so that equal work
            has one receipt.
        numbers: Series Numbers in use.
        made_at: time of making; now, by default.
    """
    number = source.get("SeriesNumber")
    series = f"series {number}" if number is not None else "a series"
    text = f"Hepar: no result for {series}: {verdict}: {reason}"
    title = f"Hepar: no result, {verdict}"
    if not verdict:
        text = f"Hepar: no result for a part of {series}: {reason}"
        title = "Hepar: no result for a part"
    content = hd.sr.ContainerContentItem(name=TITLE)
    item = hd.sr.TextContentItem(
        COMMENT,
        writable(text, source.get("SpecificCharacterSet")),
        hd.sr.RelationshipTypeValues.CONTAINS,
    )
    content.ContentSequence = hd.sr.ContentSequence([item])
    report = hd.sr.EnhancedSR(
        evidence=evidence([source]), content=content, is_complete=True, **UNNAMED
    )
    # highdicom has no class for Basic Text SR; a container of texts is valid in both.
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    at = made_at or now()
    return complete_notice(report, title, source, numbers, made_at=at, made_of=[digest])
