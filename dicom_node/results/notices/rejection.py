"""Rejection note: a Key Object Selection that withdraws older results (IHE RAD TF-2 4.66, IOCM)."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import groupby

import highdicom as hd
from pydicom import Dataset, dcmwrite
from pydicom.sr.codedict import codes

from dicom_node.results.attributes.derived_uid import derived_uid
from dicom_node.results.attributes.number_register import NumberRegister
from dicom_node.results.series_identity import notice_number

REASON = "Superseded by newer results of Hepar: the series came again, changed or more of it."


def to_rejections(withdrawn: Sequence[Dataset], numbers: NumberRegister) -> Iterator[bytes]:
    """Yield a note for each study with results that no longer hold, as a file.

    It lies in the study, and bears the patient, of the objects that it rejects.

    Args:
        withdrawn: headers of the objects.
        numbers: Series Numbers in use.
    """
    # `groupby` joins neighbours only; and the order within a study is part of the note's UIDs.
    by_study = sorted(withdrawn, key=lambda each: (each.StudyInstanceUID, each.SOPInstanceUID))
    for _, objects in groupby(by_study, key=lambda each: each.StudyInstanceUID):
        yield _to_rejection(list(objects), numbers)


def _to_rejection(objects: Sequence[Dataset], numbers: NumberRegister) -> bytes:
    named = [str(each.SOPInstanceUID) for each in objects]
    content = hd.ko.KeyObjectSelection(
        codes.DCM.RejectedForQualityReasons, objects, description=REASON
    )
    series_uid = derived_uid("rejection series", *named)
    note = hd.ko.KeyObjectSelectionDocument(
        objects,
        content,
        series_instance_uid=series_uid,
        series_number=notice_number(str(objects[0].StudyInstanceUID), series_uid, numbers),
        sop_instance_uid=derived_uid("rejection", *named),
        instance_number=1,
        manufacturer="Hepar",
    )
    note.SeriesDescription = "Hepar: superseded results"
    file = BytesIO()
    dcmwrite(file, note, enforce_file_format=True)
    return file.getvalue()
