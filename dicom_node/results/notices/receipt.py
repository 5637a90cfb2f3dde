"""Receipt: a short text report under the source study, for a series that has no result."""

from io import BytesIO

import highdicom as hd
from pydicom import Dataset, dcmwrite
from pydicom.sr.coding import Code
from pydicom.uid import BasicTextSRStorage

from dicom_node.results.attributes.derived_uid import derived_uid
from dicom_node.results.attributes.number_register import NumberRegister
from dicom_node.results.series_identity import notice_number

TITLE = Code("18748-4", "LN", "Diagnostic imaging report")
COMMENT = Code("121106", "DCM", "Comment")


def to_receipt(
    source: Dataset, verdict: str, reason: str, digest: str, numbers: NumberRegister
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
    """
    number = source.get("SeriesNumber")
    series = f"series {number}" if number is not None else "a series"
    text = f"Hepar: no result for {series}: {verdict}: {reason}"
    title = f"Hepar: no result, {verdict}"
    if not verdict:
        text = f"Hepar: no result for a part of {series}: {reason}"
        title = "Hepar: no result for a part"
    content = hd.sr.ContainerContentItem(name=TITLE)
    content.ContentSequence = hd.sr.ContentSequence(
        [hd.sr.TextContentItem(COMMENT, text, hd.sr.RelationshipTypeValues.CONTAINS)]
    )
    series_uid = derived_uid("receipt series", digest, text)
    report = hd.sr.EnhancedSR(
        evidence=[source],
        content=content,
        series_instance_uid=series_uid,
        series_number=notice_number(str(source.StudyInstanceUID), series_uid, numbers),
        sop_instance_uid=derived_uid("receipt", digest, text),
        instance_number=1,
        manufacturer="Hepar",
        is_complete=True,
    )
    # highdicom has no class for Basic Text SR; a container of texts is valid in both.
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    # What LO holds (PS3.5 6.2).
    report.SeriesDescription = title[:64]
    file = BytesIO()
    dcmwrite(file, report, enforce_file_format=True)
    return file.getvalue()
