"""A recipe planned for a time, and when each of its members must end."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path

from engine.durable_files import write_durably
from trainer.errors import BadMachine, BadRecipe, OtherRun
from trainer.recipe.recipe import Recipe
from trainer.training.by_clock.budget import Budget, Deadline
from trainer.training.by_clock.probe import measure_finish, measure_pace
from trainer.training.by_clock.time_plan import Pace, plan_steps
from trainer.training.distillation import Teacher
from trainer.training.ensemble import Cases, member_folders
from trainer.training.loop import WEIGHTS
from trainer.training.machine import Machine
from trainer.training.resume.begun import BEGUN
from trainer.training.resume.checkpoint_files import MODE

PLAN = "clock.json"
"""In the run's folder: what was measured and planned, so that a resumed run follows the same."""


@dataclass(frozen=True)
class Measured:
    """Durations on this machine, in seconds."""

    paces: tuple[Pace, ...]
    finish_s: float
    """From the last step to the model folder."""


@dataclass(frozen=True)
class TimedRun:
    """What is trained, and until when."""

    recipe: Recipe
    deadlines: tuple[Deadline, ...]
    """One for each member."""
    remark: str


def plan_run(
    recipe: Recipe,
    cases: Cases,
    folder: Path,
    machine: Machine,
    budget: Budget,
    teacher: Teacher | None = None,
    judged: int = 1,
) -> TimedRun:
    """Measure this machine, and plan the recipe so that its model is written in time.

    A run that was interrupted keeps its plan, and the members that are left get the time that is.
    `judged` models are evaluated on the held-out patients in the end.

    Raises:
        BadMachine: several processes are to train, which cannot agree on what each has measured.
        BadRecipe: the time is too short for any training.
        OtherRun: the folder holds a run that was begun without a time.
    """
    if machine.nodes > 1 or machine.devices not in (1, "auto"):
        raise BadMachine("--minutes plans for one device: leave --devices and --nodes out")
    file = folder / PLAN
    if (folder / BEGUN).is_file() and not file.is_file():
        raise OtherRun(
            f"{folder} holds a run that was begun without --minutes: leave the option out to go "
            "on, or name another folder with --run"
        )
    if file.is_file():
        planned, measured = _read(recipe, file)
    else:
        alone = replace(machine, devices=1, quiet=True)
        measured = Measured(
            tuple(
                measure_pace(recipe, member, cases, alone, budget.clock, teacher)
                for member in recipe.members
            ),
            measure_finish(recipe, cases, budget.clock, judged),
        )
        planned = _planned(recipe, measured, budget)
        _write(planned, measured, file)
    ends = _ends(planned, measured, folder, budget)
    deadlines = tuple(Deadline(budget.clock, end) for end in ends)
    return TimedRun(planned, deadlines, _remark(planned, measured, budget))


def _planned(recipe: Recipe, measured: Measured, budget: Budget) -> Recipe:
    try:
        return plan_steps(recipe, measured.paces, budget.left_s - measured.finish_s)
    except BadRecipe as error:
        raise BadRecipe(
            f"{budget.minutes:.3g} minutes are too few: reading and measuring took "
            f"{budget.spent_s:.0f} s, evaluation and export take {measured.finish_s:.0f} s; {error}"
        ) from error


def _ends(recipe: Recipe, measured: Measured, folder: Path, budget: Budget) -> list[float]:
    """Return the clock's reading at which each member must end; those that are done take none."""
    epoch_steps, places = recipe.schedule.epoch_steps, member_folders(recipe, folder)
    costs = [
        0.0 if (place / WEIGHTS).is_file() else pace.seconds(member.steps, epoch_steps)
        for place, pace, member in zip(places, measured.paces, recipe.members, strict=True)
    ]
    now, left = budget.clock(), budget.left_s - measured.finish_s
    whole = sum(costs) or 1.0
    # The last look and the weights of a member that is cut off take time as well.
    return [
        now + left * done / whole - pace.look_s
        for done, pace in zip(accumulate(costs), measured.paces, strict=True)
    ]


def _remark(recipe: Recipe, measured: Measured, budget: Budget) -> str:
    steps: Sequence[str] = [
        f"{member.name} {member.steps} at {pace.step_s:.3g} s"
        for member, pace in zip(recipe.members, measured.paces, strict=True)
    ]
    return (
        f"{budget.minutes:.3g} minutes: {budget.spent_s:.0f} s until here, steps of "
        f"{', '.join(steps)}, {measured.finish_s:.0f} s for evaluation and export"
    )


def _write(recipe: Recipe, measured: Measured, file: Path) -> None:
    cycles = [member.cycles for member in recipe.members]
    plan = {"epoch_steps": recipe.schedule.epoch_steps, "cycles": cycles, **asdict(measured)}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_durably(file, (json.dumps(plan) + "\n").encode(), mode=MODE)


def _read(recipe: Recipe, file: Path) -> tuple[Recipe, Measured]:
    try:
        plan = json.loads(file.read_text())
        members = tuple(
            member.model_copy(update={"cycles": tuple(cycles)})
            for member, cycles in zip(recipe.members, plan["cycles"], strict=True)
        )
        paces = tuple(Pace(**pace) for pace in plan["paces"])
        measured, epoch_steps = Measured(paces, plan["finish_s"]), plan["epoch_steps"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadRecipe(
            f"{file} is no plan of this recipe's run ({error}): remove it, or name another --run"
        ) from error
    schedule = recipe.schedule.model_copy(update={"epoch_steps": epoch_steps})
    return recipe.model_copy(update={"members": members, "schedule": schedule}), measured
