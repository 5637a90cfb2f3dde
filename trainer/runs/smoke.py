"""`hepar train --smoke`: the whole path on few slices, for few steps."""

import shutil
from pathlib import Path

from trainer.recipe.recipe import Recipe
from trainer.training.resume.begun import BEGUN

PATIENTS = 6
"""Read of the data, so that one can be held out and one can steer."""
SIDE, STEPS = 64, 4
"""Pixels of the working grid, and steps that the first member learns."""


def smoke_recipe(recipe: Recipe) -> Recipe:
    """Return a recipe whose path is the same and takes a minute: its figures mean nothing."""
    working = recipe.working
    spacing_mm = working.spacing_mm * working.size / SIDE
    batch = {kind: min(count, 1) for kind, count in recipe.batch.model_dump().items()}
    changes = {
        "name": f"{recipe.name}-smoke",
        "working": working.model_copy(update={"size": SIDE, "spacing_mm": spacing_mm}),
        "crop": SIDE,
        "batch": recipe.batch.model_copy(update=batch),
        "members": (recipe.members[0].model_copy(update={"cycles": (STEPS,)}),),
        "schedule": recipe.schedule.model_copy(update={"epoch_steps": STEPS // 2}),
        "phantoms": min(recipe.phantoms, 1),
        "held_out": 3,
        "validation": min(recipe.validation, 3),
        "share": 1.0,
        "split": None,
    }
    return recipe.model_copy(update=changes)


def empty(folder: Path) -> None:
    """Remove what an earlier trial has left: it is to go the whole path again.

    Nothing is removed of a folder that no run was begun in.
    """
    if (folder / BEGUN).is_file():
        shutil.rmtree(folder)
