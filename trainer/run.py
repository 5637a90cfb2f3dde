"""One training run: from labelled slices to trained members."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from trainer.phantoms import phantom_slices
from trainer.recipe import Recipe
from trainer.slices import Slices, concatenate, read_slices
from trainer.split import Split, hold_out, split_patients
from trainer.training import Report, train_member

PHANTOM_SEEDS = 1_000_000
"""Phantoms for training have seeds from here on, so that smaller ones are never trained on."""


@dataclass(frozen=True)
class Cases:
    """What a run learns from, and what it never sees."""

    split: Split
    train: Slices
    held_out: Slices


def read_cases(recipe: Recipe, data: Path, held_out: Sequence[str] = ()) -> Cases:
    """Read the slices in `data` and split them by patient, as the recipe says.

    A model that is there already says whom it has not seen: `held_out` are these patients.

    Raises:
        BadData: there are none.
    """
    slices = read_slices(data)
    split = (
        hold_out(slices, held_out)
        if held_out
        else split_patients(slices, recipe.held_out, recipe.seed)
    )
    phantoms = phantom_slices(recipe.phantoms, PHANTOM_SEEDS + recipe.seed)
    train = concatenate([slices.of(split.train), phantoms])
    return Cases(split, train, slices.of(split.held_out))


def train_ensemble(recipe: Recipe, train: Slices, folder: Path, report: Report) -> list[nn.Module]:
    """Train every member in turn; members whose checkpoints are complete are only loaded."""
    return [train_member(recipe, member, train, folder, report) for member in recipe.members]
