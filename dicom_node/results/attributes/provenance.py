"""Attributes that state where a result comes from: patient, order, time, machines, lossy steps."""

from collections.abc import Sequence
from datetime import datetime

import highdicom as hd
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from dicom_node.results.attributes.model_run import ModelRun, local_time
from dicom_node.results.attributes.patient_and_study import (
    copy_order,
    copy_patient_and_study,
    refer_to_order,
)
from dicom_node.results.attributes.raw_bytes import raw_text
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.attributes.values import fitting

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


def take_origin(result: hd.SOPClass, sources: Sequence[Dataset], run: ModelRun) -> None:
    """Copy patient, study and order from the source, and state time and machines of the making.

    All objects of a series take them from the same instance, in whatever order they have its
    instances: one may have "DOE^JANE" where the next has "DOE^JANE^^^".
    """
    source = min(sources, key=lambda each: str(each.SOPInstanceUID))
    copy_patient_and_study(result, source)
    if result.get("Modality") == "SR":
        refer_to_order(result, source)
    else:
        copy_order(result, source)
    result.update(dates(run.at, source))
    result.update(equipment(source, run.algorithm))


def dates(made_at: datetime, source: Dataset) -> Dataset:
    """Return date and time of the run, for the series, its content and the instance."""
    stated, at = Dataset(), local_time(made_at, source)
    for kind in ("Series", "Content", "InstanceCreation"):
        setattr(stated, f"{kind}Date", at.strftime("%Y%m%d"))
        setattr(stated, f"{kind}Time", at.strftime("%H%M%S"))
    return stated


def lossy_compression(sources: Sequence[Dataset]) -> Dataset:
    """Return what the object must state of lossy steps of its sources (0028,2110)."""
    stated = Dataset()
    # Stated also where nothing is lost: type 1 in a SEG (PS3.3 table C.8.20-2).
    stated.LossyImageCompression = "00"
    for source in sources:
        method = LOSSY.get(getattr(source, "file_meta", Dataset()).get("TransferSyntaxUID"))
        # The statement counts, not the encoding alone: a lossy image may have been decompressed
        # since.
        if source.get("LossyImageCompression") != "01" and method is None:
            continue
        stated.LossyImageCompression = "01"
        stated.LossyImageCompressionMethod = source.get("LossyImageCompressionMethod") or method
        stated.LossyImageCompressionRatio = _ratios(source)
        for keyword in ("LossyImageCompressionMethod", "LossyImageCompressionRatio"):
            if not stated[keyword].value:
                del stated[keyword]
        # One lossy source makes the result lossy; its method and ratio stand for those of all.
        break
    return stated


def _ratios(source: Dataset) -> list[object] | None:
    found = source.get("LossyImageCompressionRatio")
    several = found if hasattr(found, "__len__") and not isinstance(found, str) else [found]
    ratios = [fitting(ratio) for ratio in several]
    return None if None in ratios else ratios


def equipment(source: Dataset, algorithm: Algorithm) -> Dataset:
    """Return the Contributing Equipment Sequence (0018,A001), none of its items dated.

    highdicom dates its own item (0.28.2; its `for_highdicom` has no argument against it): the same
    work a second later would be another object.
    """
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
    stated = Dataset()
    stated.ContributingEquipmentSequence = [*_scanner(source), model, library]
    return stated


def _scanner(source: Dataset) -> list[Dataset]:
    item, texts = Dataset(), dict(raw_text(source))
    for keyword in EQUIPMENT:
        element = source.get_item(keyword) if keyword in source else None
        if element is not None and element.value:
            # The scanner's bytes, as with the patient's: a hospital's name may not decode either.
            item[element.tag] = texts[element.tag] if element.tag in texts else source[element.tag]
    if "Manufacturer" not in item:
        return []
    item.PurposeOfReferenceCodeSequence = [
        hd.sr.CodedConcept.from_code(codes.DCM.AcquisitionEquipment)
    ]
    item.ContributionDescription = "Acquisition equipment of the source images"
    return [item]
