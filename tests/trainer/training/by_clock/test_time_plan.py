"""Steps that fit into a time."""

import re

import pytest

from trainer.errors import BadRecipe
from trainer.recipe.recipe import Recipe
from trainer.training.by_clock.time_plan import SLACK, Pace, plan_steps

PACES = {
    "a processor": (Pace(2.0, 5.0, 3.0), Pace(1.0, 5.0, 3.0), Pace(1.5, 5.0, 3.0)),
    "a GPU": (Pace(0.01, 0.4, 8.0), Pace(0.008, 0.4, 8.0), Pace(0.012, 0.4, 8.0)),
    "no validation": (Pace(0.1, 0.0, 0.0),) * 3,
}


def taken(recipe: Recipe, paces: tuple[Pace, ...]) -> list[float]:
    steps = [member.steps for member in recipe.members]
    return [
        pace.seconds(count, recipe.schedule.epoch_steps)
        for pace, count in zip(paces, steps, strict=True)
    ]


@pytest.mark.parametrize("seconds", [60, 400, 3600])
@pytest.mark.parametrize("paces", PACES.values(), ids=PACES)
def test_a_plan_fills_the_time_but_for_the_slack_and_never_more(tiny_recipe, paces, seconds):
    planned = plan_steps(tiny_recipe, paces, seconds)
    whole = sum(taken(planned, paces))
    assert whole <= seconds * (1 - SLACK)
    # One epoch of each member may not fit any more.
    unused = sum(pace.step_s + pace.look_s for pace in paces)
    assert whole > seconds * (1 - SLACK) - unused - 1e-6
    assert all(len(member.cycles) == 1 for member in planned.members)


def test_members_share_the_time_as_in_the_recipe(tiny_recipe):
    members = tuple(
        member.model_copy(update={"cycles": cycles})
        for member, cycles in zip(tiny_recipe.members, [(100,), (200, 100), (50, 50)], strict=True)
    )
    recipe = tiny_recipe.model_copy(update={"members": members})
    planned = plan_steps(recipe, PACES["no validation"], 1000 / (1 - SLACK))
    steps = [member.steps for member in planned.members]
    assert steps == pytest.approx([2000, 6000, 2000], abs=1)


def test_looks_are_few_and_cost_little(tiny_recipe):
    paces = PACES["a GPU"]
    planned = plan_steps(tiny_recipe, paces, 3600)
    epoch = planned.schedule.epoch_steps
    assert all(pace.look_s <= 0.1 * epoch * pace.step_s for pace in paces)
    assert all(member.steps / epoch <= 51 for member in planned.members)


def test_in_a_short_time_every_member_is_looked_at_once(tiny_recipe):
    planned = plan_steps(tiny_recipe, PACES["a processor"], 60)
    steps = [member.steps for member in planned.members]
    assert planned.schedule.epoch_steps == min(steps)


@pytest.mark.parametrize("seconds", [20, -40])
def test_a_time_too_short_for_any_training_is_refused_with_what_is_missing(tiny_recipe, seconds):
    paces = PACES["a processor"]
    with pytest.raises(BadRecipe, match=rf"^{max(seconds, 0)} s are left to train 3 ") as refused:
        plan_steps(tiny_recipe, paces, seconds)
    more = float(re.search(r"give (\S+) minutes more", str(refused.value))[1])
    # Rounded to a tenth of a minute.
    assert plan_steps(tiny_recipe, paces, seconds + 60 * (more + 0.05))
