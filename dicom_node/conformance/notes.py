"""Notes on values that Hepar makes."""

from dicom_node.results.objects import ObjectKind
from dicom_node.results.series_identity import NUMBERS_PER_KIND, NUMBERS_PER_SERIES

NOTES = {
    "SOPInstanceUID": "derived from the content, see 8.1",
    "SeriesInstanceUID": "derived from the content, see 8.1",
    "DimensionOrganizationUID": "derived by name",
    "DeviceSerialNumber": "SHA-256 of the model's manifest; the scanner's own in its item",
    "ContentDate": "of the making",
    "ContentTime": "of the making",
    "SeriesDate": "of the making",
    "SeriesTime": "of the making",
    "InstanceCreationDate": "of the making",
    "InstanceCreationTime": "of the making",
    "StructureSetDate": "of the making",
    "StructureSetTime": "of the making",
    "SeriesDescription": "content; number and description of the source; slices and model version",
    "DerivationDescription": "model, device and remarks on both and on the source",
    "LossyImageCompression": "01 where the source ever went through a lossy step",
    "SegmentNumber": "from 1, without a gap; see the table above",
    "SegmentLabel": "see the table above",
    "AlgorithmName": "the model's",
    "AlgorithmVersion": "the model's",
    "AlgorithmParameters": "SHA-256 of the model's manifest, and the device that computed it",
    "TrackingID": "Lesion and its number, by size",
    "TrackingUID": "derived from the source series and the lesion's place",
    "ImagePositionPatient": "of the source slice, digit by digit where it is valid",
    "ImageOrientationPatient": "of the source",
    "ROIName": "Liver, which holds its tumours here; Lesion and its number",
    "ContourData": "halfway between the pixels inside and outside; fills by the even-odd rule",
}


NOTICE_NOTES = {
    **NOTES,
    "SeriesNumber": "from 2000000000, behind all results",
    "SeriesDescription": "Hepar: no result, and how the series ended",
}
"""Keyword to note, for receipts and rejection notes."""


def notes_on(kind: ObjectKind) -> dict[str, str]:
    """Return keyword to note, for one kind of object."""
    first = list(ObjectKind).index(kind) * NUMBERS_PER_KIND
    number = f"the source's times {NUMBERS_PER_SERIES}, plus {first} and five digits of the UID"
    return {**NOTES, "SeriesNumber": number}
