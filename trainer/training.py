"""The one training loop."""

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from trainer.augment import augment
from trainer.graph import CLASSES
from trainer.losses import segmentation_loss
from trainer.networks import NETWORKS
from trainer.recipe import Member, Recipe
from trainer.sampling import Sampler
from trainer.slices import Slices
from trainer.windows import Windows

CHECKPOINT_EVERY = 100


@dataclass(frozen=True)
class Progress:
    """How far a member has come."""

    member: str
    step: int
    steps: int
    loss: float
    """Mean over the steps since the last report."""
    seconds: float
    """The same, per step."""


Report = Callable[[Progress], None]


def train_member(
    recipe: Recipe, member: Member, slices: Slices, folder: Path, report: Report
) -> nn.Module:
    """Train one member, or go on where a run that was stopped had come to.

    Args:
        recipe: how to train.
        member: what to train.
        slices: all that it may see.
        folder: where its checkpoint lies.
        report: called every now and then.

    Returns:
        The network with the running average of its weights, ready to be used.
    """
    run = _Run(recipe, member, folder / f"{member.network}.pt")
    batches = _batches(recipe, member, slices, run.step)
    losses: list[float] = []
    start = time.perf_counter()
    while run.step < member.steps:
        hu, target = next(batches)
        losses.append(run.learn(hu, target))
        if run.step % CHECKPOINT_EVERY == 0 or run.step == member.steps:
            run.save()
            seconds = (time.perf_counter() - start) / len(losses)
            report(
                Progress(member.network, run.step, member.steps, float(np.mean(losses)), seconds)
            )
            losses, start = [], time.perf_counter()
    network = run.average.module
    return network.eval()


class _Run:
    """A member's weights, its optimiser and the step it is at."""

    def __init__(self, recipe: Recipe, member: Member, checkpoint: Path) -> None:
        torch.manual_seed(member.seed)
        self.checkpoint = checkpoint
        self.cycles = member.cycles
        self.peak = recipe.learning_rate
        self.windows = Windows(recipe.working.windows)
        network = NETWORKS[member.network](len(recipe.working.windows), CLASSES)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedModel(
            self.network,
            multi_avg_fn=get_ema_multi_avg_fn(recipe.average),  # type: ignore[no-untyped-call]
            use_buffers=True,
        )
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.step = 0
        self.schedule = self._cycle()
        if checkpoint.is_file():
            self._load(torch.load(checkpoint, weights_only=True))

    def learn(self, hu: Tensor, target: Tensor) -> float:
        """Take one step and return its loss."""
        self.network.train()
        channels = self.windows(hu).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            scores = self.network(channels)
        loss = segmentation_loss(scores, target)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.schedule.step()
        self.average.update_parameters(self.network)
        self.step += 1
        if self.step in accumulate(self.cycles):
            self.schedule = self._cycle()
        return loss.item()

    def save(self) -> None:
        """Write all that is needed to go on, whole or not at all."""
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        part = self.checkpoint.with_suffix(".part")
        state = {name: part_.state_dict() for name, part_ in self._parts().items()}
        torch.save({"step": self.step, **state}, part)
        part.replace(self.checkpoint)

    def _load(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.schedule = self._cycle()
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _cycle(self) -> OneCycleLR:
        """Return the schedule of the cycle that the next step belongs to."""
        ends = list(accumulate(self.cycles))
        index = min(bisect_right(ends, self.step), len(ends) - 1)
        steps = self.cycles[index] + 1
        return OneCycleLR(self.optimiser, self.peak / 2**index, total_steps=steps, pct_start=0.05)

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "average": self.average,
            "optimiser": self.optimiser,
            "schedule": self.schedule,
        }


def _batches(
    recipe: Recipe, member: Member, slices: Slices, start: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield augmented batches; step `i` sees the same one in every run of the same recipe."""
    sampler = Sampler(slices, recipe.batch)
    low, high = recipe.working.clip_hu
    step = start
    while True:
        chosen = sampler.draw(np.random.default_rng((member.seed, step)))
        hu, target = augment(
            torch.from_numpy(slices.hu[chosen]).float().clamp(low, high),
            torch.from_numpy(slices.target[chosen]),
            torch.from_numpy(slices.pixel_mm[chosen]),
            recipe.augmentation,
            size=recipe.crop,
            spacing_mm=recipe.working.spacing_mm,
            random=torch.Generator().manual_seed(member.seed * 1_000_003 + step),
        )
        yield hu, target
        step += 1
