"""Result UIDs: derived from an object's content, so that equal work has equal UIDs."""

import hashlib
from dataclasses import dataclass
from typing import Final

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag

from dicom_node.results.attributes.derived_uid import derived_uid
from dicom_node.results.attributes.model_run import ModelRun
from dicom_node.results.attributes.raw_bytes import keep_raw_bytes


@dataclass(frozen=True)
class ResultUids:
    """The UIDs of one object."""

    series: str
    """Series Instance UID (0020,000E)."""
    instance: str
    """SOP Instance UID (0008,0018)."""
    dimensions: str
    """Dimension Organization UID (0020,9164)."""


PLACEHOLDERS: Final = ResultUids("2.25.1", "2.25.2", "2.25.3")
"""UIDs of an object whose content is not complete yet."""

NOT_CONTENT = frozenset(
    map(
        Tag,
        (
            *("SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber"),
            *("SeriesDate", "SeriesTime", "ContentDate", "ContentTime"),
            *("InstanceCreationDate", "InstanceCreationTime"),
            *("StructureSetDate", "StructureSetTime"),
            "PredecessorDocumentsSequence",
            "EncapsulatedDocument",  # a PDF states when it was made; its text is digested instead
        ),
    )
)
"""Attributes that state when an object was made and what was there before. Equal work at another
time is equal work, so they have no part in the UIDs."""


def content_digest(made: Dataset) -> str:
    """Return the SHA-256 of an object's attributes, without those of `NOT_CONTENT`."""
    content = Dataset(
        {tag: made.get_item(tag) for tag in sorted(made.keys()) if tag not in NOT_CONTENT}
    )
    keep_raw_bytes(content, implicit_vr=True)
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = True, True  # explicit VR: values of 64 KiB at most
    write_dataset(file, content)
    return hashlib.sha256(file.getvalue()).hexdigest()


def content_uids(made: Dataset, run: ModelRun, document: str = "") -> ResultUids:
    """Return the UIDs of an object, derived from its whole content.

    The content names the source instances, carries what is copied from them, the masks or
    numbers, the model, the device and Hepar's version. The digest of what the run read is added:
    other pixels that lead to the same masks are other work.

    Args:
        made: the object with `PLACEHOLDERS` for UIDs.
        run: the run that it comes of.
        document: the text of an Encapsulated Document, without the time of making.
    """
    # In this order for ever: known work is found again by these UIDs.
    name = (content_digest(made), run.source_digest, run.stack, document)
    return ResultUids(*(derived_uid(*name, role) for role in ("series", "instance", "dimensions")))
