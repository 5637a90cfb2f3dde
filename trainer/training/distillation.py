"""Distillation: members that learn from the probabilities of a trained model besides the labels.

Hinton et al. 2015, arXiv:1503.02531, without its temperature: at most pixels the three classes are
not so sure that they would need one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, logsigmoid

from engine.devices.torch_gpu import channels_last
from engine.model import load_model
from trainer.ensemble.graph import EnsembleGraph, open_graph
from trainer.ensemble.members import CLASSES
from trainer.errors import BadModel, BadRecipe
from trainer.evaluation.run.patients import unseen_patients
from trainer.recipe.recipe import Recipe

SHARED = ("spacing_mm", "clip_hu", "drop_above_hu", "neighbours")
"""Keys of `[working]` that teacher and recipe must have alike: both look at the same batch."""


@dataclass(frozen=True)
class Teacher:
    """A trained model whose probabilities members learn from."""

    title: str
    """Name and version of the model."""
    graph: EnsembleGraph
    unseen: frozenset[str]
    """Patients whom the model has never learnt from."""

    def marks(self, hu: Tensor) -> Tensor:
        """Return its probabilities (n, 2, rows, columns) for a batch.

        They are of the liver with its tumours, and of tumours: a mean of its members, weighted as
        its fusion is. Members with a box see the batch's pixels, enlarged.

        Args:
            hu: (n, rows, columns) or (n, s, rows, columns), on the working grid.
        """
        with torch.no_grad():
            return self.graph.probabilities_on_grid(hu)

    def held_out_of(self, patients: Iterable[str]) -> tuple[str, ...]:
        """Return those of `patients` who stay unseen."""
        return tuple(sorted(self.unseen & set(patients)))

    def with_remark(self, recipe: Recipe) -> Recipe:
        """Return the recipe with a remark that names this teacher."""
        said = f"{recipe.remarks} Its members learnt from the probabilities of {self.title} too."
        return recipe.model_copy(update={"remarks": said.strip()})


def teacher_for(recipe: Recipe, folder: Path | None) -> Teacher | None:
    """Return the teacher that a recipe learns from, if it has one.

    Raises:
        BadRecipe: the recipe needs a teacher and `folder` is None, or the other way round.
        BadModel: the teacher sees other pixels than the recipe's members.
    """
    if recipe.distil is None:
        if folder is None:
            return None
        raise BadRecipe(
            f"recipe {recipe.name!r} has no [distil], so it would learn nothing from {folder}: "
            "leave --teacher out, or add --set distil.weight=2.0"
        )
    if folder is None:
        raise BadRecipe(
            f"recipe {recipe.name!r} learns from a teacher, and none is named: add --teacher with "
            "a model folder or the name of a model that ships with Hepar, such as base"
        )
    model = load_model(folder)
    # Or its parameters would take part in the gradient, and memory for it.
    graph = open_graph(model).requires_grad_(False)
    channels_last(graph)  # in place
    teacher = Teacher(f"{model.name} {model.version}", graph, unseen_patients(model))
    _require_same_pixels(teacher, recipe)
    return teacher


def _require_same_pixels(teacher: Teacher, recipe: Recipe) -> None:
    ours, theirs = recipe.working, teacher.graph.working
    apart = [key for key in SHARED if getattr(ours, key) != getattr(theirs, key)]
    if apart:
        said = ", ".join(
            f"working.{key} {getattr(theirs, key)} != {getattr(ours, key)}" for key in apart
        )
        raise BadModel(
            f"{teacher.title} cannot teach recipe {recipe.name!r}, whose members see other pixels "
            f"({said}): change the recipe with --set, or name another teacher"
        )


def distance(scores: Tensor, marks: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence from the teacher's probabilities, mean of the pixels.

    It is 0 where the member agrees, and counts pixels whose labels are unknown like all others.

    Args:
        scores: (n, 3, rows, columns) before the softmax, or (n, 2, rows, columns) before the
            sigmoid.
        marks: the teacher's probabilities (n, 2, rows, columns).
    """
    if scores.shape[1] == CLASSES:
        log_p, taught = log_softmax(scores.float(), dim=1), _classes(marks)
    else:
        # Each sigmoid as a pair of classes; log(1 - p) is logsigmoid(-x), which loses no digits
        # where p is near 1.
        log_p = torch.cat([logsigmoid(scores.float()), logsigmoid(-scores.float())], dim=1)
        taught = torch.cat([marks, 1 - marks], dim=1)
    # Over the classes a sum, over pixels a mean: "batchmean" would grow with the size of a slice.
    return kl_div(log_p, taught, reduction="none").sum(dim=1).mean()


def _classes(marks: Tensor) -> Tensor:
    """Return probabilities of background, liver and tumour, which sum to 1."""
    liver = marks[:, 0]
    # The two come from two sigmoids, or a mean of models: the part need not be below the whole, and
    # the difference must not be negative.
    tumour = torch.minimum(marks[:, 1], liver)
    return torch.stack([1 - liver, liver - tumour, tumour], dim=1)
