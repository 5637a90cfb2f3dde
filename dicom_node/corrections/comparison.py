"""Dice of a result against the SEG of a person, by the overlap that `hepar evaluate` counts."""

import math
from collections.abc import Mapping

import numpy as np
from pydicom import Dataset

from dicom_node.annotations import UnreadableDrawing, drawn_by_persons, segmentation_masks
from dicom_node.corrections.kept_labels import Drawing
from dicom_node.decoding.decode import whole_stream
from dicom_node.decoding.stream import BrokenStream
from engine.findings.overlap import overlap
from engine.volume import Geometry, Label, LabelMap


def drawing_of(seg: Dataset, grid: Geometry) -> Drawing:
    """Return what a SEG marks, on the grid of the result that it corrects.

    Its marks are those that a person drew: of a machine's there is nothing to be learnt.

    Raises:
        UnreadableDrawing: the SEG cannot be read, or lies on another grid.
    """
    _require_bounded(seg, grid)
    masks = segmentation_masks(seg, grid)
    labels = np.zeros(grid.shape, np.uint8)
    for mark in sorted(masks):  # a tumour lies in the liver, whose label it takes the place of
        labels[masks[mark]] = mark
    return Drawing(LabelMap(labels, grid), frozenset(masks) & drawn_by_persons(seg))


def compare(seg: Dataset, result: LabelMap) -> Mapping[str, float]:
    """Return `dice_of` what a SEG marks.

    Raises:
        UnreadableDrawing: the SEG cannot be read, or lies on another grid.
    """
    return dice_of(drawing_of(seg, result.geometry), result)


def dice_of(drawing: Drawing, result: LabelMap) -> Mapping[str, float]:
    """Return the Dice of each structure that a person marked, by the name of its label.

    The liver counts with its tumours, as LiTS does. What neither marks has no figure.

    Raises:
        UnreadableDrawing: the result lies on another grid.
    """
    drawn = drawing.label_map
    if not drawn.geometry.matches(result.geometry):
        raise UnreadableDrawing("it lies on another grid than the result")
    dice = {}
    if Label.LIVER in drawing.marks:
        liver = drawn.labels != Label.BACKGROUND
        dice["liver"] = overlap(result.labels != Label.BACKGROUND, liver).dice
    if Label.TUMOUR in drawing.marks:
        tumour = drawn.labels == Label.TUMOUR
        dice["tumour"] = overlap(result.labels == Label.TUMOUR, tumour).dice
    return {name: value for name, value in dice.items() if not math.isnan(value)}


def _require_bounded(seg: Dataset, grid: Geometry) -> None:
    """Return if a SEG is no larger than its grid allows; its pixels are decoded in this process.

    Raises:
        UnreadableDrawing: it is larger.
    """
    rows, columns = int(seg.get("Rows") or 0), int(seg.get("Columns") or 0)
    frames, segments = int(seg.get("NumberOfFrames") or 0), len(seg.get("SegmentSequence") or ())
    if sorted((rows, columns)) != sorted(grid.shape[1:]) or frames > grid.shape[0] * segments:
        raise UnreadableDrawing(
            f"SEG of {frames} frames of {rows}x{columns} on a series of {grid.shape[0]} slices of"
            f" {grid.shape[1]}x{grid.shape[2]}; save it on the grid of the series"
        )
    syntax = seg.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return
    # A stream may declare far more pixels than its attributes, and decoders believe it.
    try:
        for index in range(frames):
            whole_stream(seg, index, syntax)
    except BrokenStream as error:
        raise UnreadableDrawing(f"SEG cannot be decoded: {error}; send it again") from error
