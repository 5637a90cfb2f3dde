"""The whole model as one graph: Hounsfield units in, labels out.

Graph contract 1 (also in `model.json`):

    hu         float16 (n, rows, columns)   rows run to the back, columns to the patient's left
    spacing    float32 (2,)                 millimetres between rows, between columns
    labels     uint8   (n, rows, columns)   values of `engine.volume.Label`
    agreement  float32 (n, 2, 2)            liver with its tumours, then tumour: how many pixels of
                                            the working grid every member marks, and any member
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from engine.model import Model
from trainer.datasets.cases.interpolation import step_mm
from trainer.ensemble.fusion import fuse
from trainer.ensemble.liver_box import box_around
from trainer.ensemble.members import make_member, to_marks
from trainer.ensemble.sampling import Sampling, sampling
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


class Shown(NamedTuple):
    """What one member is shown of a batch of slices."""

    seen: Tensor
    """(n, channels, size, size)."""
    on_slices: Sampling
    """Its grid, and the slices' own pixels."""
    on_working: Sampling | None
    """Its grid, and the working grid; None where they are one."""


class EnsembleGraph(nn.Module):
    """Windowing, resampling, members, fusion and the way back to the slice's own pixels."""

    def __init__(self, members: Sequence[nn.Module], recipe: Recipe) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.names = distinct([member.name for member in recipe.members])
        self.windows = Windows(recipe.working)
        self.working = recipe.working
        self.fusing = recipe.fused
        self.boxes = tuple(each.box for each in recipe.members[: len(members)])

    def forward(self, hu: Tensor, spacing: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        native, working = self.marks(hu, spacing)
        return labels(native, self.fusing), _agreement(working)

    def marks(self, hu: Tensor, spacing: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each member thinks, on the slices' own pixels and on the working grid.

        Both are probabilities (members, n, 2, rows, columns): liver with its tumours, tumour.
        Slices may also come as (n, s, rows, columns), each with its own neighbours.
        """
        native, working = [], []
        for view, marks in self._looks(hu, spacing, *self._grid(hu, spacing)):
            native.append(view.on_slices.up(marks))
            working.append(view.on_working.up(marks) if view.on_working else marks)
        threshold = self.fusing.tumour_threshold
        return (
            with_tumour_threshold(torch.stack(native), threshold),
            with_tumour_threshold(torch.stack(working), threshold),
        )

    def views(self, hu: Tensor, spacing: Tensor) -> list[Shown]:
        """Return what each member is shown of slices, in the order of the members."""
        return [view for view, _ in self._looks(hu, spacing, *self._grid(hu, spacing))]

    def probabilities_on_grid(self, hu: Tensor) -> Tensor:
        """Return the fused probabilities (n, 2, size, size) of slices on the working grid.

        They are a mean, weighted as the fusion is where it has weights.

        Args:
            hu: (n, size, size) or with neighbours (n, s, size, size), with the distance of pixels
                of the working grid, such as a batch in training.
        """
        step = torch.tensor(self.working.spacing_mm, device=hu.device)
        looks = self._looks(hu, step.expand(2), hu.shape[-1], step)
        marks = torch.stack([view.on_slices.up(marks) for view, marks in looks])
        weights = self.fusing.weights if self.fusing.kind == "weighted" else ()
        if not weights:
            return marks.mean(dim=0)
        say = torch.tensor(weights, device=hu.device)[:, None, :, None, None]
        return (say * marks).sum(dim=0)

    def _looks(
        self, hu: Tensor, spacing: Tensor, size: int, step: Tensor
    ) -> list[tuple[Shown, Tensor]]:
        """Return what each member is shown, and the probabilities that it answers with.

        Args:
            hu: slices.
            spacing: of them.
            size: rows and columns of the working grid.
            step: distance of its pixels.
        """
        above = clip(hu.float(), self.working) - self.working.clip_hu[0]  # outside there is air
        shape = hu.shape[-2], hu.shape[-1]
        working = sampling(shape, spacing, size, step)
        whole = Shown(self._channels(working.down(above)), working, None)
        wide = {
            index: to_marks(self.members[index](whole.seen))
            for index, box in enumerate(self.boxes)
            if box is None
        }
        if len(wide) == len(self.boxes):
            return [(whole, marks) for marks in wide.values()]
        liver = _found(torch.stack(list(wide.values()))[:, :, 0])
        # A member with a box has learnt from slices with liver alone, and marks nothing on others.
        there = liver.amax(dim=(1, 2))[:, None, None, None]
        looks = []
        for index, box in enumerate(self.boxes):
            if box is None:
                looks.append((whole, wide[index]))
                continue
            place = box_around(liver, step, box.size, box.spacing_mm, box.margin_mm)
            on_slices = sampling(shape, spacing, box.size, *place)
            view = Shown(
                self._channels(on_slices.down(above)),
                on_slices,
                sampling((size, size), step.expand(2), box.size, *place),
            )
            looks.append((view, to_marks(self.members[index](view.seen)) * there))
        return looks

    def _grid(self, hu: Tensor, spacing: Tensor) -> tuple[int, Tensor]:
        """Return the working grid's size and spacing: wider where slices would not fit in it."""
        # One spacing for both axes: members learnt from square pixels.
        field = torch.stack([spacing[0] * hu.shape[-2], spacing[1] * hu.shape[-1]]).max()
        return self.working.size, step_mm(field, self.working.size, self.working.spacing_mm)

    def _channels(self, above: Tensor) -> Tensor:
        """Return the channels of slices whose HU are given above the lower bound."""
        channels: Tensor = self.windows(above + self.working.clip_hu[0])
        return channels


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


def _found(livers: Tensor) -> Tensor:
    """Return (n, rows, columns) 1 where the members' mean has liver, else where one of them has.

    Args:
        livers: (members, n, rows, columns) probabilities.
    """
    mean = (livers.mean(dim=0) > 0.5).float()
    any_member = (livers.amax(dim=0) > 0.5).float()
    nowhere = 1 - mean.amax(dim=(1, 2), keepdim=True)
    return torch.maximum(mean, any_member * nowhere)


def _agreement(marks: Tensor) -> Tensor:
    """Count, per slice and class, the pixels that every member marks and that any does."""
    marked = (marks > 0.5).float()
    every = marked.amin(dim=0).sum(dim=(-2, -1))
    any_member = marked.amax(dim=0).sum(dim=(-2, -1))
    return torch.stack([every, any_member], dim=-1)
