"""Optimiser, learning-rate schedule, and the running average of the weights."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from lightning.pytorch.utilities.types import LRSchedulerConfigType
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau
from torch.optim.swa_utils import get_ema_multi_avg_fn

from trainer.recipe.recipe import Recipe

WARM = 0.05
"""Part of a cycle in which the rate rises."""
START, END = 0.04, 4e-6
"""Parts of the peak that a cycle starts and ends at, as in torch's OneCycleLR."""
WATCHED = "validation_dice"
"""Monitored metric: mean Dice over validation patients, liver and tumour alike."""

Average = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]
"""Updates averaged tensors in place by those of the current step, given the number of steps."""


def make_optimiser(recipe: Recipe, weights: Iterable[nn.Parameter]) -> Optimizer:
    """Return the recipe's optimiser."""
    kind = AdamW if recipe.schedule.optimiser == "adamw" else Adam
    return kind(weights, recipe.learning_rate, weight_decay=recipe.weight_decay)


def make_rate(
    recipe: Recipe, cycles: Sequence[int], optimiser: Optimizer
) -> LRSchedulerConfigType | None:
    """Return the learning rate schedule for Lightning; None for a constant rate."""
    match recipe.schedule.rate:
        case "one-cycle":
            ups: LRScheduler = LambdaLR(optimiser, lambda step: one_cycle(step, cycles))
            return {"scheduler": ups, "interval": "step"}
        case "plateau":
            downs = ReduceLROnPlateau(
                optimiser,
                mode="max",
                factor=recipe.schedule.plateau_factor,
                patience=recipe.schedule.plateau_patience,
                threshold=recipe.schedule.stop_gain,
                # A gain in Dice, as `stop_gain` states it, not a part of the best so far.
                threshold_mode="abs",
            )
            return {"scheduler": downs, "interval": "epoch", "monitor": WATCHED}
        case "constant":
            return None


def one_cycle(step: int, cycles: Sequence[int]) -> float:
    """Return the learning rate at a step as part of its peak (Smith & Topin, arXiv:1708.07120).

    Each cycle rises and falls along cosines, and peaks at half of the one before.
    """
    ends = list(accumulate(cycles))
    index = min(bisect_right(ends, step), len(ends) - 1)
    # Schedulers are stepped once past the end; the last cycle then stays at its end.
    done = min((step - ends[index] + cycles[index]) / cycles[index], 1.0)
    if done < WARM:
        height = _between(START, 1.0, done / WARM)
    else:
        height = _between(1.0, END, (done - WARM) / (1 - WARM))
    return height * 0.5**index


def _between(one: float, other: float, part: float) -> float:
    return other + (one - other) * (1 + math.cos(math.pi * part)) / 2


def running_average(decay: float, warm_up: bool = False) -> Average:
    """Return an exponential running average.

    Args:
        decay: part that the average keeps at each step.
        warm_up: keep less over the first steps: (1 + n) / (10 + n) after n of them.
    """

    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], steps: Tensor | int) -> None:
        count = int(steps)
        kept = min(decay, (1 + count) / (10 + count)) if warm_up else decay
        step = get_ema_multi_avg_fn(kept)  # type: ignore[no-untyped-call]
        step(averaged, current, steps)

    return update
