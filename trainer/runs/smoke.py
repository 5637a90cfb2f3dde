"""`hepar train --smoke`: the whole path on few slices, for few steps."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainer.recipe.recipe import LiverBox, Member, Recipe
from trainer.training.resume.begun import BEGUN

PATIENTS = 6
"""Read of the data, so that one can be held out and one can steer."""
SIDE, STEPS = 64, 4
"""Pixels of every grid, and steps that a member learns."""


def smoke_recipe(recipe: Recipe) -> Recipe:
    """Return a recipe whose path is the same and takes a minute: its figures mean nothing."""
    working = recipe.working
    if not recipe.staying:  # they know the pixels that they have learnt from alone
        spacing_mm = working.spacing_mm * working.size / SIDE
        working = working.model_copy(update={"size": SIDE, "spacing_mm": spacing_mm})
    batch = {kind: min(count, 1) for kind, count in recipe.batch.model_dump().items()}
    changes = {
        "name": f"{recipe.name}-smoke",
        "working": working,
        "crop": SIDE,
        "batch": recipe.batch.model_copy(update=batch),
        "members": tuple(_members(recipe.members)),
        "schedule": recipe.schedule.model_copy(update={"epoch_steps": STEPS // 2}),
        "phantoms": min(recipe.phantoms, 1),
        "held_out": 3,
        "validation": min(recipe.validation, 3),
        "share": 1.0,
        "split": None,
    }
    return recipe.model_copy(update=changes)


def _members(members: Sequence[Member]) -> Iterator[Member]:
    """Yield the first member that sees whole slices, and the first that has a box."""
    for boxed in (False, True):
        for member in (each for each in members if (each.box is not None) == boxed):
            short = {"cycles": (STEPS,) if member.cycles else (), "batch": None}
            yield member.model_copy(update=short | {"box": _small(member.box)})
            break


def _small(box: LiverBox | None) -> LiverBox | None:
    if box is None:
        return None
    return box.model_copy(update={"size": SIDE, "spacing_mm": box.spacing_mm * box.size / SIDE})


def empty(folder: Path) -> None:
    """Remove what an earlier trial has left: it is to go the whole path again.

    Nothing is removed of a folder that no run was begun in.
    """
    if (folder / BEGUN).is_file():
        shutil.rmtree(folder)
