"""What a result takes over from its sources beside patient and study."""

import re
from collections.abc import Sequence

import highdicom as hd
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from dicom_node.results.attributes.segment_description import Algorithm

NO_DATE = ("19000101", "000000")
"""Content Date and Time where no source has any date. They must have a value, and today's would
make another object of the same work each day."""

DATES = ("Content", "Acquisition", "Series", "Study")
"""Where a source may say when it was made, the nearest first."""

LOSSY = {
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
}
"""Transfer syntaxes that always lose something, with the method's name (PS3.3 C.7.6.1.1.5.1)."""

EQUIPMENT = (
    "Manufacturer",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "InstitutionName",
    "InstitutionalDepartmentName",
    "StationName",
)


LONG_STRING, SHORT_TEXT = 64, 1024
"""Characters that the value representations LO and ST hold (PS3.5 6.2)."""


def take_origin(result: hd.SOPClass, sources: Sequence[Dataset], algorithm: Algorithm) -> None:
    """Copy patient and study as the source has them, and tell which machines were at work.

    Nothing that stays in the object tells when it was made, so the same work is the same object.
    """
    result.copy_patient_and_study_information(sources[0])
    if sources[0].get("SpecificCharacterSet"):
        result.SpecificCharacterSet = sources[0].SpecificCharacterSet
    del result.InstanceCreationDate, result.InstanceCreationTime
    for said in (newest_date(sources), equipment(sources[0], algorithm)):
        result.update(said)


def plain(text: str, limit: int) -> str:
    """Fit `text` into a value that every character set can write."""
    return text.encode("ascii", "replace").decode()[:limit]


def newest_date(sources: Sequence[Dataset]) -> Dataset:
    """Return Content Date and Time (0008,0023 and 0033): those of the newest source."""
    said = Dataset()
    said.ContentDate, said.ContentTime = _newest(sources)
    return said


def _newest(sources: Sequence[Dataset]) -> tuple[str, str]:
    for kind in DATES:
        found = [
            (str(source.get(f"{kind}Date") or ""), str(source.get(f"{kind}Time") or ""))
            for source in sources
        ]
        dated = [(date, _time(time)) for date, time in found if re.fullmatch(r"\d{8}", date)]
        if dated:
            return max(dated)
    return NO_DATE


def _time(text: str) -> str:
    return text if re.fullmatch(r"\d{6}(\.\d{1,6})?", text) else "000000"


def lossy_compression(sources: Sequence[Dataset]) -> Dataset:
    """Return what the object must say of lossy steps its sources went through (0028,2110)."""
    said = Dataset()
    said.LossyImageCompression = "00"
    for source in sources:
        method = LOSSY.get(getattr(source, "file_meta", Dataset()).get("TransferSyntaxUID"))
        if source.get("LossyImageCompression") != "01" and method is None:
            continue
        said.LossyImageCompression = "01"
        said.LossyImageCompressionMethod = source.get("LossyImageCompressionMethod") or method
        said.LossyImageCompressionRatio = source.get("LossyImageCompressionRatio")
        for keyword in ("LossyImageCompressionMethod", "LossyImageCompressionRatio"):
            if not said[keyword].value:
                del said[keyword]
        break
    return said


def equipment(source: Dataset, algorithm: Algorithm) -> Dataset:
    """Return the Contributing Equipment Sequence (0018,A001), none of its items dated."""
    library = hd.ContributingEquipment.for_highdicom()
    del library.ContributionDateTime
    model = hd.ContributingEquipment(
        manufacturer="Hepar",
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        manufacturer_model_name=algorithm.name,
        software_versions=algorithm.version,
        device_serial_number=algorithm.digest,
        contribution_description="Model that marked the segments",
    )
    said = Dataset()
    said.ContributingEquipmentSequence = [*_scanner(source), model, library]
    return said


def _scanner(source: Dataset) -> list[Dataset]:
    if not source.get("Manufacturer"):
        return []
    item = Dataset()
    for keyword in EQUIPMENT:
        if source.get(keyword):
            setattr(item, keyword, source[keyword].value)
    item.PurposeOfReferenceCodeSequence = [
        hd.sr.CodedConcept.from_code(codes.DCM.AcquisitionEquipment)
    ]
    item.ContributionDescription = "Acquisition equipment of the source images"
    return [item]
