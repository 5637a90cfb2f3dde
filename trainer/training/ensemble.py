"""One training run: from labelled slices to trained members."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from lightning.pytorch.callbacks import Callback
from torch import nn

from trainer.datasets.cases.patient_split import Split, hold_out, split_patients, take_share
from trainer.datasets.cases.phantoms import phantom_slices
from trainer.datasets.cases.slice_resizing import resized
from trainer.datasets.cases.slices import SIDE, Slices, concatenate
from trainer.datasets.layouts.read_all import read_slices
from trainer.recipe.recipe import Recipe, Window, load_split
from trainer.training.distillation import Teacher
from trainer.training.loop import train_member
from trainer.training.machine import Machine
from trainer.training.warm_start import WarmStart

PHANTOM_SEEDS = 1_000_000
"""Phantoms for training have seeds from here on, so that smaller ones are never trained on."""

NEARLY_ALL = 0.9
"""Part of the slices that must have kept a Hounsfield value for it to count as kept."""


@dataclass(frozen=True)
class Cases:
    """Training, held-out and validation patients of a run."""

    split: Split
    train: Slices
    held_out: Slices
    validation: Slices


def read_cases(recipe: Recipe, data: Path, held_out: Sequence[str] = ()) -> Cases:
    """Read the slices in `data` and split them by patient, by the recipe.

    `held_out` are patients that an existing model has not seen.

    Raises:
        BadData: there are none.
    """
    return split_cases(recipe, slices_for(recipe, data), held_out)


def slices_for(
    recipe: Recipe,
    data: Path,
    reading: Callable[[str], None] = lambda name: None,
    most: int | None = None,
) -> Slices:
    """Return all slices in `data`, as fine as the recipe looks at them.

    Args:
        recipe: how fine that is.
        data: where they lie.
        reading: called with the name of each case before it is read.
        most: volumes, and patients of packed slices, that are read; all if None.

    Raises:
        BadData: there are none.
    """
    # Never coarser than the crop, which would then be enlarged.
    side = max(recipe.crop, SIDE)
    return read_slices(
        data,
        side,
        step_mm=recipe.slice_step_mm,
        reading=reading,
        most=most,
        unlabelled=recipe.batch.unlabelled > 0,
    )


def split_cases(recipe: Recipe, slices: Slices, held_out: Sequence[str] = ()) -> Cases:
    """Split slices by patient: by the recipe, or with `held_out` held out.

    Raises:
        BadRecipe: there is no such split as the recipe names.
    """
    split = _split(recipe, slices, held_out)
    rest = slices.of(split.train)
    steering: Sequence[str] = ()
    if recipe.validation:
        steering = split_patients(rest, recipe.validation, recipe.seed).held_out
    train = rest[~np.isin(rest.patient, list(steering))]
    # After the split: a smaller share is judged on the same patients.
    train = take_share(train, recipe.share, recipe.seed)
    split = replace(split, train=tuple(np.unique(train.patient).tolist()))
    if recipe.phantoms:
        drawn = phantom_slices(recipe.phantoms, PHANTOM_SEEDS + recipe.seed)
        train = concatenate([train, resized(drawn, train.side)])
    return Cases(split, train, slices.of(split.held_out), rest.of(steering))


def _split(recipe: Recipe, slices: Slices, held_out: Sequence[str]) -> Split:
    """Return the split that a model demands, else the recipe's own, else a random one.

    Patients whom a model has not seen are held out, and nobody else in their place: others would
    be judged on although the model may have learnt from them.
    """
    if held_out:
        return hold_out(slices, held_out)
    if recipe.split:
        named = hold_out(slices, load_split(recipe.split))
        if named.held_out:
            return named
    return split_patients(slices, recipe.held_out, recipe.seed)


def narrow(recipe: Recipe, slices: Slices) -> Recipe:
    """Return the recipe with its bounds no wider than what nearly every slice has kept.

    A member that learnt from slices whose fat was clipped to 0 HU must not meet fat in use.
    """
    low, high = kept_hu(slices)
    own_low, own_high = recipe.working.clip_hu
    bounds = max(low, own_low), min(high, own_high)
    if bounds == recipe.working.clip_hu:
        return recipe

    def within(windows: tuple[Window, ...]) -> tuple[Window, ...]:
        return tuple((max(one, bounds[0]), min(other, bounds[1])) for one, other in windows)

    working = recipe.working
    narrowed = {
        "clip_hu": bounds,
        "windows": within(working.windows),
        "equalised": within(working.equalised),
    }
    return recipe.model_copy(update={"working": working.model_copy(update=narrowed)})


def kept_hu(slices: Slices) -> Window:
    """Return the Hounsfield units between which nearly every slice was not clipped."""
    # A slice that was clipped at 0 HU has its minimum there; nearly all must lie below the bound.
    low = np.quantile(slices.hu.min(axis=(1, 2)), NEARLY_ALL)
    high = np.quantile(slices.hu.max(axis=(1, 2)), 1 - NEARLY_ALL)
    return float(round(low)), float(round(high))


def train_ensemble(
    recipe: Recipe,
    cases: Cases,
    folder: Path,
    machine: Machine,
    start: WarmStart | None = None,
    teacher: Teacher | None = None,
    watches: Sequence[Sequence[Callback]] | None = None,
) -> list[nn.Module]:
    """Train every member in turn; members that are done are only loaded.

    `watches` are further callbacks of each member's training.
    """
    starts = start.members if start else [None] * len(recipe.members)
    watched = watches or [()] * len(recipe.members)
    each = zip(recipe.members, member_folders(recipe, folder), starts, watched, strict=True)
    return [
        train_member(
            recipe, member, cases.train, cases.validation, place, machine, begun, teacher, more
        )
        for member, place, begun, more in each
    ]


def member_folders(recipe: Recipe, folder: Path) -> list[Path]:
    """Return where each member's checkpoints and weights lie in a run's folder."""
    return [
        folder / f"{index}-{member.name}" for index, member in enumerate(recipe.members, start=1)
    ]
