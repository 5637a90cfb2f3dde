"""Sources of predictions: a model on a device, its members and fusions, or SEG objects."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from engine.device import Device, neighbours_of
from engine.hounsfield import HU_BOUNDS
from engine.segmentation.cleaning import clean
from engine.segmentation.segment import segment
from engine.segmentation.slice_vote import majority_vote
from engine.volume import LabelMap
from trainer.datasets.cases.case import Case
from trainer.datasets.cases.slices import Slices
from trainer.ensemble.graph import EnsembleGraph
from trainer.evaluation.metrics.exam import Exam, Piece
from trainer.evaluation.run.compare_fusions import variants
from trainer.evaluation.run.patients import PatientCase
from trainer.evaluation.run.seg_objects import SegFile, read_seg, seg_of

Method = Callable[[PatientCase], Mapping[str, Exam]]
"""Marks a subject, in one way or in several; each has a name."""

UNKNOWN_PIXEL_MM = 1.5
"""Spacing assumed for a slice without one; figures in millimetres are then left out."""

BATCH = 8

Labels = NDArray[np.uint8]
Marker = Callable[[NDArray[np.float16], tuple[float, float]], Mapping[str, Labels]]
"""Marks (n, rows, columns) slices with millimetres between rows and between columns."""


def on_device(name: str, device: Device) -> Method:
    """Return a method that marks as the node would: whole volumes are voted over and cleaned.

    Slices without neighbours are marked one by one, without their neighbours.

    Args:
        name: what to call it.
        device: with the model on it.
    """

    def mark(subject: PatientCase) -> Mapping[str, Exam]:
        images = subject.images
        if isinstance(images, Case):
            return {name: whole(images, segment(images.volume, device).label_map)}
        # Slices of one call are each other's neighbours.
        batch = 1 if neighbours_of(device) else BATCH
        return _each_slice(
            images, lambda hu, spacing: {name: device.run(hu, spacing).labels}, batch
        )

    return mark


def side_by_side(name: str, graph: EnsembleGraph) -> Method:
    """Return a method that marks with each member alone and with every fusion of them."""

    def mark_slices(
        hu: NDArray[np.float16], spacing_mm: tuple[float, float]
    ) -> Mapping[str, Labels]:
        with torch.inference_mode():
            marks, _ = graph.marks(torch.from_numpy(hu), torch.tensor(spacing_mm))
            return {f"{name}: {each}": found.numpy() for each, found in variants(graph, marks)}

    neighbours = graph.working.neighbours

    def mark(subject: PatientCase) -> Mapping[str, Exam]:
        if isinstance(subject.images, Case):
            return _each_volume(subject.images, mark_slices, neighbours)
        return _each_slice(subject.images, mark_slices, 1 if neighbours else BATCH)

    return mark


def whole(case: Case, found: LabelMap) -> Exam:
    """Return a case beside what was found in it."""
    spacing_mm = None if case.spacing_lost else case.volume.geometry.spacing
    piece = Piece(case.volume.hu, case.target, found.labels, spacing_mm)
    return Exam(case.patient, (piece,))


def _each_volume(case: Case, mark: Marker, neighbours: int) -> Mapping[str, Exam]:
    """Mark every slice of a volume, then let neighbours vote and clean, as the engine does."""
    _, rows_mm, columns_mm = case.volume.geometry.spacing
    hu = np.clip(case.volume.hu, *HU_BOUNDS).astype(np.float16)
    found = in_batches(hu, (rows_mm, columns_mm), mark, neighbours=neighbours)
    maps = {name: LabelMap(labels, case.volume.geometry) for name, labels in found.items()}
    return {name: whole(case, clean(majority_vote(each))) for name, each in maps.items()}


def _each_slice(slices: Slices, mark: Marker, batch: int) -> Mapping[str, Exam]:
    """Mark slices, those of one spacing at a time."""
    # By spacing, as a call of a device has one for all of its slices.
    told = np.where(np.isnan(slices.pixel_mm), UNKNOWN_PIXEL_MM, slices.pixel_mm)
    pieces: dict[str, list[Piece]] = {}
    for pixel_mm in np.unique(told):
        part = slices[told == pixel_mm]
        found = in_batches(part.hu.astype(np.float16), (float(pixel_mm),) * 2, mark, batch)
        for name, labels in found.items():
            pieces.setdefault(name, []).extend(_pieces(part, labels))
    patient = str(slices.patient[0])
    return {name: Exam(patient, tuple(each)) for name, each in pieces.items()}


def _pieces(slices: Slices, found: Labels) -> list[Piece]:
    return [
        Piece(hu, target, labels, None if np.isnan(mm) else (float(mm), float(mm)))
        for hu, target, labels, mm in zip(
            slices.hu, slices.target, found, slices.pixel_mm, strict=True
        )
    ]


def in_batches(
    hu: NDArray[np.float16],
    spacing_mm: tuple[float, float],
    mark: Marker,
    batch: int = BATCH,
    neighbours: int = 0,
) -> Mapping[str, Labels]:
    """Return the labels of slices, `batch` at a time, each time with their neighbours beside."""
    parts: dict[str, list[Labels]] = {}
    for start in range(0, len(hu), batch):
        first = max(start - neighbours, 0)
        # Beyond the ends there is nothing to show; the graph repeats the outermost slices itself.
        shown = hu[first : start + batch + neighbours]
        for name, labels in mark(shown, spacing_mm).items():
            parts.setdefault(name, []).append(labels[start - first :][:batch])
    return {name: np.concatenate(each) for name, each in parts.items()}


def by_others(name: str, segs: Sequence[SegFile]) -> Method:
    """Return a method that reads SEG objects; a series without one is left out."""

    def mark(subject: PatientCase) -> Mapping[str, Exam]:
        images = subject.images
        seg = seg_of(images, segs) if isinstance(images, Case) else None
        if seg is None or not isinstance(images, Case):
            return {}
        return {name: whole(images, read_seg(seg.path, images.volume.geometry))}

    return mark
