"""Segmentations that people drew, read back; also the trainer's reader of them."""

from dicom_node.annotations.description import (
    Annotation,
    Author,
    describe_metadata,
    describe_segmentation,
    drawn_by_persons,
)
from dicom_node.annotations.find import AnnotatedSeries, find_annotated
from dicom_node.annotations.masks import masks_by_persons, segmentation_masks
from dicom_node.errors import UnreadableDrawing

__all__ = [
    "AnnotatedSeries",
    "Annotation",
    "Author",
    "UnreadableDrawing",
    "describe_metadata",
    "describe_segmentation",
    "drawn_by_persons",
    "find_annotated",
    "masks_by_persons",
    "segmentation_masks",
]
