"""Short trainings that measure how fast this machine is."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from trainer.ensemble.graph import EnsembleGraph
from trainer.ensemble.members import make_member
from trainer.evaluation.run.compare_fusions import compare_fusions
from trainer.recipe.recipe import Member, Recipe
from trainer.training.by_clock.budget import Clock
from trainer.training.by_clock.time_plan import Pace
from trainer.training.distillation import Teacher
from trainer.training.ensemble import Cases
from trainer.training.loop import train_member
from trainer.training.machine import Machine

STEPS, CUDA_STEPS = 2, 40
"""Steps of each of the two epochs: seconds on a processor, and enough to be timed on a GPU."""
JUDGED = 4
"""Slices that show how long the evaluation takes."""
EXPORT_S, EXPORT_MEMBER_S = 30.0, 30.0
"""Export, and check on every device, of the ensemble and for each member; see docs/recipes.md."""


class _Timing(Callback):
    """Readings of the clock at the start of each epoch and at the end of its last step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.starts: list[float] = []
        self.ends: list[float] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        """Note the start of an epoch."""
        self.starts.append(self._now())

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Note the end of an epoch's last step."""
        # Not of every step: waiting for a GPU at each would slow it down.
        if trainer.is_last_batch:
            self.ends.append(self._now())

    def _now(self) -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # steps are only queued until then
        return self._clock()


def measure_pace(
    recipe: Recipe,
    member: Member,
    cases: Cases,
    machine: Machine,
    clock: Clock,
    teacher: Teacher | None = None,
) -> Pace:
    """Train a member for two short epochs, throw it away, and return how long each part took."""
    steps = CUDA_STEPS if machine.on_cuda else STEPS
    schedule = recipe.schedule.model_copy(update={"epoch_steps": steps, "stop_patience": None})
    short = recipe.model_copy(update={"schedule": schedule})
    tried = member.model_copy(update={"cycles": (2 * steps,)})
    timing, begun = _Timing(clock), clock()
    with TemporaryDirectory(prefix="hepar-pace-") as folder:
        train_member(
            short,
            tried,
            cases.train,
            cases.validation,
            Path(folder),
            machine,
            teacher=teacher,
            watches=[timing],
        )
    (_, second), (first_end, second_end) = timing.starts, timing.ends
    # The second epoch: the first one finds kernels and fills caches.
    step_s, look_s = (second_end - second) / steps, second - first_end
    start_s = clock() - begun - 2 * (steps * step_s + look_s)
    return Pace(max(step_s, 1e-6), max(look_s, 0.0), max(start_s, 0.0))


def measure_finish(recipe: Recipe, cases: Cases, clock: Clock, models: int = 1) -> float:
    """Return the seconds from the last step to the model folder: evaluation of so many models, and
    the export of one.
    """
    members: Sequence[nn.Module] = [make_member(recipe, each) for each in recipe.members]
    graph = EnsembleGraph(members, recipe).eval()
    few = cases.held_out[np.arange(min(JUDGED, len(cases.held_out)))]
    unknown_mm = recipe.augmentation.unknown_pixel_mm
    compare_fusions(graph, few, unknown_mm)
    begun = clock()
    compare_fusions(graph, few, unknown_mm)
    slice_s = (clock() - begun) / len(few)
    # The choice of a fusion looks at each validation slice twice.
    judged = models * len(cases.held_out) + 2 * len(cases.validation)
    return judged * slice_s + EXPORT_S + EXPORT_MEMBER_S * len(members)
