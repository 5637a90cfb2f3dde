"""A SEG that is to be compared, as its header alone announces it."""

from pathlib import Path

from dicom_node.annotations import Annotation, describe_segmentation
from dicom_node.decoding.file_bounds import require_bounded_file
from dicom_node.decoding.stream import BrokenStream
from dicom_node.dicom_file import UNREADABLE_FILE, read_file

DESCRIBED = [
    "Manufacturer",
    "ContributingEquipmentSequence",
    "ReferencedSeriesSequence",
    "SegmentSequence",
    "ContentLabel",
    "ContentDate",
    "ContentTime",
]
"""What `describe_segmentation` reads."""


def announced_drawing(path: Path) -> Annotation | None:
    """Return what a SEG is without its frames, of which it may have thousands.

    None where it cannot be read; who reads all of it finds the reason.
    """
    try:
        require_bounded_file(path)
        return describe_segmentation(
            read_file(path, stop_before_pixels=True, specific_tags=DESCRIBED)
        )
    except (BrokenStream, *UNREADABLE_FILE):
        return None
