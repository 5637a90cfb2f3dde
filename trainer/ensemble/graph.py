"""The whole model as one graph: Hounsfield units in, labels out.

Graph contract 1 (also in `model.json`):

    hu         float16 (n, rows, columns)   rows run to the back, columns to the patient's left
    spacing    float32 (2,)                 millimetres between rows, between columns
    labels     uint8   (n, rows, columns)   values of `engine.volume.Label`
    agreement  float32 (n, 2, 2)            liver with its tumours, then tumour: how many pixels of
                                            the working grid every member marks, and any member
"""

from collections.abc import Sequence

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from engine.model import Model
from trainer.datasets.cases.interpolation import axis_mm, interpolation, step_mm
from trainer.ensemble.fusion import fuse
from trainer.ensemble.members import make_member, to_marks
from trainer.ensemble.weights import load_weights
from trainer.ensemble.windows import Windows, clip
from trainer.errors import BadModel
from trainer.recipe.recipe import Recipe
from trainer.recipe.sections import FusionSettings


def open_graph(model: Model) -> "EnsembleGraph":
    """Return the torch graph of a model folder, ready to answer as the folder's ONNX graph does.

    Raises:
        BadModel: its recipe or its weights are not those of a graph that this trainer knows.
    """
    try:
        recipe = Recipe.model_validate(model.manifest.recipe)
    except ValidationError as error:
        raise BadModel(f"{model.folder} was made by another recipe's trainer: {error}") from error
    graph = EnsembleGraph([make_member(recipe, member) for member in recipe.members], recipe)
    load_weights(graph, model)
    return graph.eval()


class EnsembleGraph(nn.Module):
    """Windowing, resampling, members, fusion and the way back to the slice's own pixels."""

    def __init__(self, members: Sequence[nn.Module], recipe: Recipe) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.names = distinct([member.network for member in recipe.members])
        self.windows = Windows(recipe.working)
        self.working = recipe.working
        self.fusing = recipe.fusion

    def forward(self, hu: Tensor, spacing: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        native, working = self.marks(hu, spacing)
        return labels(native, self.fusing), _agreement(working)

    def marks(self, hu: Tensor, spacing: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each member thinks, on the slices' own pixels and on the working grid.

        Both are probabilities (members, n, 2, rows, columns): liver with its tumours, tumour.
        Slices may also come as (n, s, rows, columns), each with its own neighbours.
        """
        step = self._step(hu, spacing)
        down_rows, up_rows = self._matrices(hu.shape[-2], spacing[0], step)
        down_columns, up_columns = self._matrices(hu.shape[-1], spacing[1], step)
        above = clip(hu.float(), self.working) - self.working.clip_hu[0]  # outside there is air
        seen = self.windows(down_rows @ above @ down_columns.T + self.working.clip_hu[0])
        marks = torch.stack([to_marks(member(seen)) for member in self.members])
        working = with_tumour_threshold(marks, self.fusing.tumour_threshold)
        return up_rows @ working @ up_columns.T, working

    def to_slices(self, maps: Tensor, hu: Tensor, spacing: Tensor) -> Tensor:
        """Return maps (…, size, size) of the working grid on the pixels of the slices `hu`."""
        step = self._step(hu, spacing)
        _, up_rows = self._matrices(hu.shape[-2], spacing[0], step)
        _, up_columns = self._matrices(hu.shape[-1], spacing[1], step)
        return up_rows @ maps @ up_columns.T

    def _step(self, hu: Tensor, spacing: Tensor) -> Tensor:
        """Return the working grid's spacing: wider where the slice would not fit in it."""
        rows, columns = hu.shape[-2:]
        # One spacing for both axes: members learnt from square pixels.
        field = torch.stack([spacing[0] * rows, spacing[1] * columns]).max()
        return step_mm(field, self.working.size, self.working.spacing_mm)

    def _matrices(self, length: int, spacing_mm: Tensor, step_mm: Tensor) -> tuple[Tensor, Tensor]:
        """Return the matrices from an axis of the slice to the working grid and back."""
        size, ratio = self.working.size, step_mm / spacing_mm
        down = interpolation(axis_mm(size, ratio), length, ratio)
        # The way back has the ratio turned round: there the working grid is the source.
        up = interpolation(axis_mm(length, 1 / ratio), size, 1 / ratio)
        return down, up


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Return what members are called: numbered where one network comes twice."""
    if len(set(names)) == len(names):
        return tuple(names)
    return tuple(f"{name} {number}" for number, name in enumerate(names, start=1))


def with_tumour_threshold(marks: Tensor, threshold: float) -> Tensor:
    """Return marks (members, n, 2, rows, columns) whose tumours exceed 0.5 above the threshold.

    Two straight lines that meet there keep 0 and 1 where they are, so that a fusion that weighs
    confidences works as before.
    """
    if threshold == 0.5:
        return marks
    liver, tumour = marks[:, :, :1], marks[:, :, 1:]
    below, above = tumour / (2 * threshold), (tumour + 1 - 2 * threshold) / (2 - 2 * threshold)
    bend = torch.minimum if threshold < 0.5 else torch.maximum
    return torch.cat([liver, bend(below, above)], dim=2)


def labels(marks: Tensor, fusing: FusionSettings) -> Tensor:
    """Fuse (members, n, 2, rows, columns) probabilities to (n, rows, columns) uint8 labels."""
    liver, tumour = fuse(marks, fusing)
    # Fused apart, so a tumour may lie where the liver lost.
    tumour = tumour & liver
    # Summed before the cast: TensorRT has 8-bit unsigned integers at a graph's ends only.
    return (liver.to(torch.int32) + tumour.to(torch.int32)).to(torch.uint8)


def _agreement(marks: Tensor) -> Tensor:
    """Count, per slice and class, the pixels that every member marks and that any does."""
    marked = (marks > 0.5).float()
    every = marked.amin(dim=0).sum(dim=(-2, -1))
    any_member = marked.amax(dim=0).sum(dim=(-2, -1))
    return torch.stack([every, any_member], dim=-1)
