"""Dice of a result against the SEG of a person, by the overlap that `hepar evaluate` counts."""

import math
from collections.abc import Mapping

import numpy as np
from pydicom import Dataset

from dicom_node.annotations import UnreadableDrawing, segmentation_masks
from dicom_node.decoding.decode import whole_stream
from dicom_node.decoding.stream import BrokenStream
from engine.findings.overlap import overlap
from engine.volume import Geometry, Label, LabelMap


def compare(seg: Dataset, result: LabelMap) -> Mapping[str, float]:
    """Return the Dice of each structure that a SEG marks, by the name of its label.

    The liver counts with its tumours, as LiTS does. What neither marks has no figure.

    Raises:
        UnreadableDrawing: the SEG cannot be read, or lies on another grid.
    """
    _require_bounded(seg, result.geometry)
    masks = segmentation_masks(seg, result.geometry)
    nothing = np.zeros(result.labels.shape, np.bool_)
    dice = {}
    if Label.LIVER in masks:
        liver = masks[Label.LIVER] | masks.get(Label.TUMOUR, nothing)
        dice["liver"] = overlap(result.labels != Label.BACKGROUND, liver).dice
    if Label.TUMOUR in masks:
        dice["tumour"] = overlap(result.labels == Label.TUMOUR, masks[Label.TUMOUR]).dice
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
