"""What is said of values that Hepar makes."""

from dicom_node.results.objects import ObjectKind
from dicom_node.results.series_identity import SERIES_NUMBER_OFFSETS

NOTES = {
    "SOPInstanceUID": "derived by name",
    "DimensionOrganizationUID": "derived by name",
    "DeviceSerialNumber": "SHA-256 of the model's manifest; the scanner's own in its item",
    "ContentDate": "the newest of the source; 19000101 where it has none",
    "ContentTime": "that belongs to Content Date",
    "StructureSetDate": "the newest of the source; 19000101 where it has none",
    "StructureSetTime": "that belongs to Structure Set Date",
    "SeriesDescription": "what is in it",
    "DerivationDescription": "model, device and remarks on the source",
    "LossyImageCompression": "01 where the source ever went through a lossy step",
    "SegmentNumber": "from 1, without a gap; see the table above",
    "SegmentLabel": "see the table above",
    "AlgorithmName": "the model's",
    "AlgorithmVersion": "the model's",
    "AlgorithmParameters": "SHA-256 of the model's manifest, and the device that computed it",
    "TrackingID": "Lesion and its number, by size",
    "TrackingUID": "derived from the source series and the lesion's place",
    "ImagePositionPatient": "of the source slice, digit by digit",
    "ImageOrientationPatient": "of the source",
    "ROIName": "Liver, which holds its tumours here; Lesion and its number",
    "ContourData": "halfway between the pixels inside and outside; fills by the even-odd rule",
}


def notes_on(kind: ObjectKind) -> dict[str, str]:
    """Return keyword to note, for one kind of object."""
    return {**NOTES, "SeriesNumber": f"the source's plus {SERIES_NUMBER_OFFSETS[kind]}"}
