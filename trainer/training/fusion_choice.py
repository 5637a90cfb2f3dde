"""Choice of the fusion of a new model: the best on validation patients."""

import math
from collections.abc import Mapping
from statistics import fmean

import torch
from torch import Tensor

from engine.findings.overlap import Overlap
from trainer.datasets.cases.slices import Slices
from trainer.datasets.cases.target import Target
from trainer.ensemble.fusion import rivals
from trainer.ensemble.graph import EnsembleGraph
from trainer.evaluation.metrics.overlap import Figures
from trainer.evaluation.run.compare_fusions import compare_fusions
from trainer.evaluation.run.slicewise import alike
from trainer.recipe.recipe import Recipe
from trainer.recipe.sections import FusionSettings

STRIDE = 4
"""Every so many pixels along rows and columns are enough to learn a weight per member."""
STEPS = 150


def choose_fusion(
    graph: EnsembleGraph, recipe: Recipe, validation: Slices
) -> tuple[FusionSettings, dict[str, Figures]]:
    """Return the fusion with the best mean Dice of the validation patients, and all their figures.

    The weighted mean is learnt on these same patients, so its figures here flatter it a little;
    what the model card states of it comes from the held-out ones.
    """
    weights = learn_weights(graph, recipe, validation)
    graph.fusing = recipe.fusion.model_copy(update={"weights": weights})
    figures = compare_fusions(graph, validation, recipe.augmentation.unknown_pixel_mm)
    best = max(rivals(graph.fusing), key=lambda each: mean_patient_dice(figures[each.kind]))
    graph.fusing = best
    return best, figures


def mean_patient_dice(figures: Figures) -> float:
    """Return the mean of the patients' Dice, liver and tumour counting alike."""
    means = [mean_dice(each) for each in (figures.liver, figures.tumour)]
    return fmean([each for each in means if not math.isnan(each)] or [0.0])


def mean_dice(overlaps: Mapping[str, Overlap]) -> float:
    """Return the mean Dice of patients who have the structure; nan if none has."""
    dice = [each.dice for each in overlaps.values() if each.true]
    return fmean(dice) if dice else float("nan")


def learn_weights(
    graph: EnsembleGraph, recipe: Recipe, slices: Slices
) -> tuple[tuple[float, float], ...]:
    """Return each member's weight for liver and tumour, by least cross-entropy."""
    marks, truth, known = _collect(graph, recipe, slices)
    say = torch.zeros(len(graph.members), 2, requires_grad=True)
    optimiser = torch.optim.Adam([say], 0.1)
    for _ in range(STEPS):
        # softmax keeps the weights positive and their sum 1; the clamp keeps logarithms finite.
        p = (say.softmax(dim=0)[:, None] * marks).sum(dim=0).clamp(1e-5, 1 - 1e-5)
        loss = -torch.where(truth, p.log(), (1 - p).log())
        optimiser.zero_grad()
        ((loss * known).sum() / known.sum().clamp(min=1)).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    weights = say.detach().softmax(dim=0)
    return tuple((float(liver), float(tumour)) for liver, tumour in weights)


def _collect(graph: EnsembleGraph, recipe: Recipe, slices: Slices) -> tuple[Tensor, Tensor, Tensor]:
    """Return marks (members, pixels, 2), truth and whether it is known (pixels, 2).

    Only pixels that are liver, or that some member takes for it, have anything to teach.
    """
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    with torch.inference_mode():
        for part in alike(slices, recipe.augmentation.unknown_pixel_mm, recipe.working.neighbours):
            spacing = torch.tensor([part.pixel_mm, part.pixel_mm])
            marks, _ = graph.marks(torch.from_numpy(part.hu), spacing)
            parts.append(_thin(marks, torch.from_numpy(part.slices.target)))
    marks, truth, known = (torch.cat(each, dim=-2) for each in zip(*parts, strict=True))
    # Tensors of inference mode cannot take part in gradients; their copies can.
    return marks.clone(), truth.clone(), known.clone()


def _thin(marks: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    marks = marks[..., ::STRIDE, ::STRIDE].movedim(2, -1).flatten(1, -2)
    target = target[:, ::STRIDE, ::STRIDE].flatten()
    sighted = target != Target.UNKNOWN
    truth = torch.stack([sighted & (target != Target.BACKGROUND), target == Target.TUMOUR], dim=-1)
    known = torch.stack([sighted, sighted & (target != Target.LIVER_OR_TUMOUR)], dim=-1)
    use = truth.any(dim=-1) | (marks > 0.05).any(dim=0).any(dim=-1)
    return marks[:, use], truth[use], known[use]
