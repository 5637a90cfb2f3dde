"""Segmentations that people drew, read back; also the trainer's reader of them."""

from dicom_node.annotations.description import (
    Author,
    Drawing,
    describe_drawing,
    describe_metadata,
)
from dicom_node.annotations.find import LabelledSeries, find_labelled
from dicom_node.annotations.masks import drawn_masks
from dicom_node.errors import UnreadableDrawing

__all__ = [
    "Author",
    "Drawing",
    "LabelledSeries",
    "UnreadableDrawing",
    "describe_drawing",
    "describe_metadata",
    "drawn_masks",
    "find_labelled",
]
