"""Complete a notice, which no model made: patient, order, time, UIDs, Series Number."""

from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Final, TypedDict

import highdicom as hd
from pydicom import Dataset
from pydicom.uid import UID

from dicom_node.results.attributes.derived_uid import derived_uid
from dicom_node.results.attributes.number_register import NumberRegister
from dicom_node.results.attributes.patient_and_study import copy_patient_and_study, refer_to_order
from dicom_node.results.attributes.provenance import dates
from dicom_node.results.attributes.result_uids import PLACEHOLDERS, content_digest
from dicom_node.results.attributes.values import LONG_STRING, writable
from dicom_node.results.seg import encode
from dicom_node.results.series_identity import notice_number


class Unnamed(TypedDict):
    """Arguments that highdicom requires for every object that it makes."""

    series_instance_uid: str
    sop_instance_uid: str
    series_number: int
    instance_number: int
    manufacturer: str
    manufacturer_model_name: str
    software_versions: str


UNNAMED: Final = Unnamed(
    series_instance_uid=PLACEHOLDERS.series,
    sop_instance_uid=PLACEHOLDERS.instance,
    series_number=1,
    instance_number=1,
    manufacturer="Hepar",
    manufacturer_model_name="Hepar",
    software_versions=version("hepar"),
)
"""Arguments of highdicom for a notice that is not complete."""


def complete_notice(
    notice: hd.SOPClass,
    description: str,
    source: Dataset,
    numbers: NumberRegister,
    *,
    made_at: datetime,
    made_of: Sequence[str] = (),
) -> bytes:
    """Return a notice as a file: that of the same patient and study as its source.

    Equal notices have equal UIDs, whenever they are made.

    Args:
        notice: the object with its content, made with `UNNAMED`; changed in place.
        description: its Series Description.
        source: an instance of its patient and study, with whatever headers came.
        numbers: Series Numbers in use.
        made_at: time of making; part of no UID.
        made_of: digests of what the content does not show.
    """
    copy_patient_and_study(notice, source)
    refer_to_order(notice, source)
    notice.update(dates(made_at, source))
    for item in notice.ContributingEquipmentSequence:
        item.pop("ContributionDateTime", None)  # highdicom's (0.28.2): another one each second
    notice.SeriesDescription = writable(description, notice.get("SpecificCharacterSet"))
    notice.SeriesDescription = notice.SeriesDescription[:LONG_STRING]
    # While it has placeholders for UIDs and number, which must have no part in the digest.
    name = ("notice", content_digest(notice), *made_of)
    notice.SeriesInstanceUID = derived_uid(*name, "series")
    notice.SOPInstanceUID = derived_uid(*name, "instance")
    notice.file_meta.MediaStorageSOPInstanceUID = UID(notice.SOPInstanceUID)
    study = str(notice.StudyInstanceUID)
    notice.SeriesNumber = notice_number(study, notice.SeriesInstanceUID, numbers)
    return encode(notice)
