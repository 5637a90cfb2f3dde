"""Everything that can be seen of an ensemble on one slice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.findings.overlap import overlap
from trainer.ensemble.graph import EnsembleGraph, Shown, labels
from trainer.evaluation.metrics.exam import Structure
from trainer.explain.grad_cam import INDEX, Cams, activations, grad_cams
from trainer.explain.views import View

Map = NDArray[np.float32]
"""(rows, columns) of the slice, 0 to 1."""
Mask = NDArray[np.bool_]

ENSEMBLE = "ensemble"


@dataclass(frozen=True, eq=False)
class Opinion:
    """Maps of one structure by one member or the ensemble."""

    probability: Map
    """Of the ensemble: the mean of its members'."""
    marked: Mask
    """Of the ensemble: what its fusion decides."""
    deep: Map
    """Grad-CAM of the coarsest features; of the ensemble the mean."""
    fine: Map
    """Grad-CAM of the last features; of the ensemble the mean."""
    marks_any: bool
    """Otherwise the Grad-CAMs are of the likeliest pixels."""


@dataclass(frozen=True, eq=False)
class Insight:
    """All of one slice."""

    view: View
    names: tuple[str, ...]
    """Members, in the order of the graph."""
    opinions: Mapping[Structure, Mapping[str, Opinion]]
    """By member, and for the ensemble."""
    activations: Mapping[str, Mapping[int, Map]]
    """By member, and for the ensemble, and by the rows that the features have."""
    size: int
    """Rows of the working grid."""

    def votes(self, structure: Structure) -> NDArray[np.int64]:
        """(rows, columns) how many members mark each pixel."""
        marked = [self.opinions[structure][name].marked for name in self.names]
        votes: NDArray[np.int64] = np.sum(marked, axis=0)
        return votes

    def iou(self, structure: Structure, one: str, other: str) -> float:
        """Intersection over union of what two of them mark; nan where neither marks anything."""
        marks = self.opinions[structure]
        return overlap(marks[one].marked, marks[other].marked).iou

    def iou_of_all(self, structure: Structure) -> float:
        """Pixels marked by every member over those marked by any; nan where there are none."""
        votes = self.votes(structure)
        return overlap(votes == len(self.names), votes > 0).iou


def look(graph: EnsembleGraph, view: View) -> Insight:
    """Return all that can be seen of an ensemble on a slice."""
    # A slab where members see the neighbours; the maps are of its middle slice.
    hu = torch.from_numpy(view.hu if view.slab is None else view.slab)[None]
    spacing = torch.tensor(view.spacing_mm)
    with torch.no_grad():
        native, _ = graph.marks(hu, spacing)
        shown = graph.views(hu, spacing)
    names = graph.names

    found = labels(native, graph.fusing)[0].numpy()
    opinions = {}
    for structure in Structure:
        cams = [
            grad_cams(member, each.seen, structure)
            for member, each in zip(graph.members, shown, strict=True)
        ]
        plane = INDEX[structure]
        # Labels above plane 0 are liver and tumour, above plane 1 tumour alone.
        opinions[structure] = _opinions(names, native[:, 0, plane], found > plane, cams, shown)
    maps = {
        name: {
            rows: _on_slice(each, level) for rows, level in activations(member, each.seen).items()
        }
        for name, member, each in zip(names, graph.members, shown, strict=True)
    }
    levelled = {**maps, ENSEMBLE: _mean_levels(list(maps.values()))}
    return Insight(view, names, opinions, levelled, graph.working.size)


def _opinions(
    names: Sequence[str],
    probabilities: Tensor,
    decided: Mask,
    cams: Sequence[Cams],
    shown: Sequence[Shown],
) -> dict[str, Opinion]:
    deep = [_on_slice(each, cam.deep) for each, cam in zip(shown, cams, strict=True)]
    fine = [_on_slice(each, cam.fine) for each, cam in zip(shown, cams, strict=True)]
    of_members = {
        name: Opinion(
            probability.numpy(), (probability > 0.5).numpy(), deep[i], fine[i], cams[i].marked
        )
        for i, (name, probability) in enumerate(zip(names, probabilities, strict=True))
    }
    ensemble = Opinion(
        # Of the drawing only: what is marked comes from the fusion, which need not be a mean.
        probabilities.mean(dim=0).numpy(),
        decided,
        _mean(deep),
        _mean(fine),
        bool(decided.any()),
    )
    return {**of_members, ENSEMBLE: ensemble}


def _on_slice(shown: Shown, on_grid: Tensor) -> Map:
    """Return a map (size, size) of what a member is shown on the pixels of its one slice."""
    with torch.no_grad():
        found = shown.on_slices.up(on_grid.float()[None, None])
    wide: Map = found[0, 0].clamp(0, 1).numpy()
    return wide


def _mean(maps: Sequence[Map]) -> Map:
    mean: Map = np.mean(maps, axis=0, dtype=np.float32)
    return mean


def _mean_levels(members: Sequence[Mapping[int, Map]]) -> dict[int, Map]:
    """Return the mean of every level that any member has, over those that have it."""
    levels = sorted({rows for each in members for rows in each}, reverse=True)
    return {rows: _mean([each[rows] for each in members if rows in each]) for rows in levels}
