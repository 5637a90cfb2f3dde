"""Steps that fit into a time, from the measured pace of each member."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.errors import BadRecipe
from trainer.recipe.recipe import Member, Recipe

SLACK = 0.1
"""Part of the time that is planned for nothing: a machine is not always as fast as measured."""
LOOKS_COST = 0.1
"""Most of the training time that looks at validation patients are planned to take."""
MOST_LOOKS = 50
FEWEST_STEPS = 2
"""Steps of the shortest cycle that a recipe may have."""


@dataclass(frozen=True)
class Pace:
    """Measured durations of a member's training, in seconds."""

    step_s: float
    look_s: float
    """End of an epoch: a look at the validation patients, curve and checkpoint."""
    start_s: float
    """All that happens once."""

    def seconds(self, steps: int, epoch_steps: int) -> float:
        """Return how long so many steps take."""
        looks = math.ceil(steps / epoch_steps)
        return self.start_s + steps * self.step_s + looks * self.look_s

    def steps(self, seconds: float, epoch_steps: int) -> int:
        """Return the most steps that take no longer than `seconds`; 0 where none fit."""
        left = seconds - self.start_s
        epoch_s = epoch_steps * self.step_s + self.look_s
        epochs = max(0, math.floor(left / epoch_s))
        rest = math.floor((left - epochs * epoch_s - self.look_s) / self.step_s)
        return epochs * epoch_steps + max(0, rest)


def plan_steps(recipe: Recipe, paces: Sequence[Pace], seconds: float) -> Recipe:
    """Return the recipe with one cycle for each member, all of which take `seconds` together.

    Members share the time as they share it in the recipe.

    Raises:
        BadRecipe: the time is too short for any training.
    """
    planned_s = seconds * (1 - SLACK)
    shares = share_out(recipe.members, paces, planned_s)
    longest = [pace.steps(share, 10**9) for pace, share in zip(paces, shares, strict=True)]
    if min(longest) < FEWEST_STEPS:
        # Below this a member would not even end its first epoch.
        needed = sum(pace.seconds(FEWEST_STEPS, FEWEST_STEPS) for pace in paces) / (1 - SLACK)
        raise BadRecipe(
            f"{max(seconds, 0):.0f} s are left to train {len(paces)} members, of which one step "
            f"takes {max(pace.step_s for pace in paces):.1f} s: give "
            f"{(needed - seconds) / 60:.1f} minutes more, or --set fewer members"
        )
    epoch_steps = _epoch_steps(paces, longest)
    members = tuple(
        member.model_copy(update={"cycles": (max(FEWEST_STEPS, pace.steps(share, epoch_steps)),)})
        for member, pace, share in zip(recipe.members, paces, shares, strict=True)
    )
    schedule = recipe.schedule.model_copy(update={"epoch_steps": epoch_steps})
    return recipe.model_copy(update={"members": members, "schedule": schedule})


def share_out(members: Sequence[Member], paces: Sequence[Pace], seconds: float) -> list[float]:
    """Return the seconds of each member: its start, and its part of the steps' time."""
    costs = [member.steps * pace.step_s for member, pace in zip(members, paces, strict=True)]
    starts = sum(pace.start_s + pace.look_s for pace in paces)
    left = max(0.0, seconds - starts)
    return [
        pace.start_s + pace.look_s + left * cost / sum(costs)
        for pace, cost in zip(paces, costs, strict=True)
    ]


def _epoch_steps(paces: Sequence[Pace], longest: Sequence[int]) -> int:
    """Return the steps between two looks: few enough looks, and one for every member at least."""
    cheap = max(math.ceil(pace.look_s / (LOOKS_COST * pace.step_s)) for pace in paces)
    return max(1, min(min(longest), max(cheap, math.ceil(max(longest) / MOST_LOOKS))))
