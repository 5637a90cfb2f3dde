"""Rejection note: a Key Object Selection that withdraws older results (IHE RAD TF-2 4.66, IOCM)."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby

import highdicom as hd
from pydicom import Dataset
from pydicom.sr.codedict import codes

from dicom_node.results.attributes.model_run import now
from dicom_node.results.attributes.number_register import NumberRegister
from dicom_node.results.notices.completion import UNNAMED, complete_notice

REASON = "Superseded by newer results of Hepar: the series came again, changed or more of it."


def to_rejections(
    withdrawn: Sequence[Dataset], numbers: NumberRegister, *, made_at: datetime | None = None
) -> Iterator[bytes]:
    """Yield a note for each study with results that no longer hold, as a file.

    It lies in the study, and bears the patient, of the objects that it rejects.

    Args:
        withdrawn: headers of the objects.
        numbers: Series Numbers in use.
        made_at: time of making; now, by default.
    """
    # `groupby` joins neighbours only; and the order within a study is part of the note's UIDs.
    by_study = sorted(withdrawn, key=lambda each: (each.StudyInstanceUID, each.SOPInstanceUID))
    for _, objects in groupby(by_study, key=lambda each: each.StudyInstanceUID):
        yield _to_rejection(list(objects), numbers, made_at or now())


def _to_rejection(objects: Sequence[Dataset], numbers: NumberRegister, made_at: datetime) -> bytes:
    content = hd.ko.KeyObjectSelection(
        codes.DCM.RejectedForQualityReasons, objects, description=REASON
    )
    note = hd.ko.KeyObjectSelectionDocument(objects, content, **UNNAMED)
    title = "Hepar: superseded results"
    return complete_notice(note, title, objects[0], numbers, made_at=made_at)
