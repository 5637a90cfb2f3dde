"""Batches of training slices: how many a second, and their part of a training step.

`python -m tests.benchmarks.bench feeding`: on a GPU where there is one, else on the processor.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch

from engine.phantom import make_phantom
from tests.benchmarks.earlier import ROOT, check_out, measured_by
from tests.benchmarks.marks import Mark
from trainer.batches.data_loader import Batches
from trainer.datasets.cases.slices import Slices
from trainer.recipe.recipe import Member, Recipe, load_recipe

if TYPE_CHECKING:
    from trainer.training.machine import Machine

ROUNDS = 3
STEPS = 4
"""Training steps of a round; on a GPU a hundred times as many."""
SIDE = 256
PHASE = (
    "augmentation.phase={}",
    "augmentation.gain=0",
    "augmentation.shift_hu=0",
    "augmentation.noise_hu=0",
    "augmentation.soften=false",
)
KINDS = {
    "base": (),
    "with phase": PHASE,
    "with synthetic tumours": ("augmentation.synthetic_tumour=0.3",),
}
BEFORE = "e2a91dc14f6d"
"""The last commit that made batches on the processor alone."""
KINDS_BEFORE = "base", "tumours", "batched tumours"
BESIDE = "batches on one thread, {}: now beside before"
PAIRS = 5


def measure(folder: Path) -> Iterator[Mark]:
    """Yield slices a second: of batches alone, and of training whose batches either side makes."""
    place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    slices = toy_slices()
    for name, changes in KINDS.items():
        rate = batches_rate(load_recipe("base", changes), slices, place, ROUNDS)
        yield Mark(f"batches of base, {name}, on {place.type}", "", f"{rate:.0f} slices/s", True)
    yield from _beside_before(folder)
    yield _trained(slices, folder, place)


def _beside_before(folder: Path) -> Iterator[Mark]:
    """Yield the processor's time for a batch as it was before batches were made on any device."""
    old = folder / "before"
    if why := check_out(BEFORE, ["engine", "trainer"], old):
        yield Mark(BESIDE.format("base"), "", f"not measured: {why}", None)
        return
    rounds = [
        [measured_by("feeding_child.py", source, *KINDS_BEFORE) for source in (old, ROOT)]
        for _ in range(PAIRS)
    ]
    for name in KINDS_BEFORE:
        # Other programs can only add to a time.
        before, now = (min(each[side][name] for each in rounds) for side in (0, 1))
        detail = f"{now / before:.2f} times ({before:.0f} : {now:.0f} ms)"
        yield Mark(BESIDE.format(name), "", detail, True)


def batches_rate(recipe: Recipe, slices: Slices, place: torch.device, rounds: int) -> float:
    """Return the slices a second in batches of a recipe, made on a device."""
    batches = Batches(recipe, 1, slices, place)

    def some() -> None:
        for number in range(STEPS):
            batches[number]
        if place.type == "cuda":
            torch.cuda.synchronize()

    some()
    return STEPS * recipe.batch.size / median(_seconds(some) for _ in range(rounds))


def _trained(slices: Slices, folder: Path, place: torch.device) -> Mark:
    """Return the ratio of training that makes its own batches to that with a worker beside it."""
    from trainer.training.machine import Machine  # Lightning, which batches alone do not need

    recipe = load_recipe("base", ['members=[{network="linknet", cycles=[2], seed=1}]'])
    machines = [Machine(place.type, devices=1, workers=each, quiet=True) for each in (0, 1)]
    pairs = [
        [_pace(recipe, slices, folder / f"{turn}-{each.workers}", each) for each in machines]
        for turn in range(ROUNDS)
    ]
    ratio = median(own / beside for own, beside in pairs)
    own, beside = (median(rates) for rates in zip(*pairs, strict=True))
    detail = f"{ratio:.2f} times ({own:.1f} : {beside:.1f} slices/s)"
    return Mark(f"training on {place.type}, own batches beside those of a worker", "", detail, True)


def _pace(recipe: Recipe, slices: Slices, folder: Path, machine: "Machine") -> float:
    from trainer.training.loop import train_member

    steps = STEPS * (100 if machine.on_cuda else 1)
    member = Member(network="linknet", cycles=(steps,), seed=1)
    train_member(recipe, member, slices, slices[np.arange(0)], folder, machine)
    pace = json.loads((folder / "pace.json").read_text())
    return float(pace["slices"] / pace["seconds"])


def _seconds(work: Callable[[], object]) -> float:
    begun = perf_counter()
    work()
    return perf_counter() - begun


def toy_slices() -> Slices:
    """Return slices of a phantom, as of six patients."""
    made = make_phantom(1, shape=(24, SIDE, SIDE), spacing_mm=(10.0, 1.5, 1.5))
    patient = np.repeat(list("abcdef"), 4)
    return Slices(made.volume.hu, made.truth.labels, patient, np.full(24, 1.5, np.float32))
