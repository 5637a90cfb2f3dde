"""Members and fusions side by side, in torch, slice by slice."""

from collections.abc import Iterator

import torch
from torch import Tensor

from trainer.datasets.cases.slices import Slices
from trainer.ensemble.fusion import rivals
from trainer.ensemble.graph import EnsembleGraph, labels
from trainer.evaluation.metrics.overlap import Figures, Tally
from trainer.evaluation.run.slicewise import alike
from trainer.recipe.sections import FusionSettings


def compare_fusions(
    graph: EnsembleGraph, slices: Slices, unknown_pixel_mm: float
) -> dict[str, Figures]:
    """Evaluate each member alone and every fusion of them, side by side, in torch."""
    tallies: dict[str, Tally] = {}
    for part in alike(slices, unknown_pixel_mm, graph.working.neighbours):
        with torch.inference_mode():
            spacing = torch.tensor([part.pixel_mm, part.pixel_mm])
            marks, _ = graph.marks(torch.from_numpy(part.hu), spacing)
            for name, found in variants(graph, marks):
                tally = tallies.setdefault(name, Tally())
                tally.add(part.patient, found.numpy(), part.slices.target)
    return {name: tally.figures() for name, tally in tallies.items()}


def variants(graph: EnsembleGraph, marks: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield the labels of each member alone and of every fusion, with their names."""
    for index, name in enumerate(graph.names):
        # A slice of one member keeps the axis; the mean of one is that one.
        yield name, labels(marks[index : index + 1], FusionSettings(kind="mean"))
    for fusing in rivals(graph.fusing):
        yield fusing.kind, labels(marks, fusing)
