"""Trainings that end in time, on a clock that only work moves."""

import json
import time

import pytest

from trainer.errors import BadMachine, BadRecipe, OtherRun
from trainer.training.by_clock import timed_run
from trainer.training.by_clock.budget import Budget
from trainer.training.by_clock.probe import EXPORT_MEMBER_S, EXPORT_S, measure_finish
from trainer.training.by_clock.timed_run import PLAN, plan_run
from trainer.training.ensemble import read_cases, train_ensemble
from trainer.training.lightning_module import Learner
from trainer.training.loop import WEIGHTS
from trainer.training.machine import Machine
from trainer.training.resume.begun import BEGUN

pytestmark = pytest.mark.usefixtures("few_levels")

QUICK = Machine(accelerator="cpu", quiet=True)
FINISH_S = 50.0


class Clock:
    """Seconds that only work takes."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.step_s = 10.0
        self.first_s = 0.0
        self.jumps = {}
        self.steps = 0
        self.fresh = False

    def __call__(self) -> float:
        return self.now

    def step(self) -> None:
        self.now += self.step_s + (self.first_s if self.fresh else 0.0)
        self.fresh = False
        self.steps += 1
        self.now += self.jumps.pop(self.steps, 0.0)

    def look(self) -> None:
        self.now += 1.0

    def start(self) -> None:
        self.fresh = True


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    step, look = Learner.training_step, Learner.on_validation_epoch_end
    monkeypatch.setattr(Learner, "training_step", lambda *of: made.step() or step(*of))
    monkeypatch.setattr(
        Learner, "on_validation_epoch_end", lambda learner: made.look() or look(learner)
    )
    monkeypatch.setattr(Learner, "on_fit_start", lambda learner: made.start())
    monkeypatch.setattr(timed_run, "measure_finish", lambda *of: FINISH_S)
    return made


@pytest.fixture(scope="module")
def recipe(tiny_recipe):
    """One member, which learns for a million steps without a plan."""
    member = tiny_recipe.members[1].model_copy(update={"cycles": (1_000_000,)})
    return tiny_recipe.model_copy(update={"members": (member,), "average": 0.0})


@pytest.fixture(scope="module")
def cases(recipe, data_folder):
    return read_cases(recipe.model_copy(update={"validation": 3}), data_folder)


def plan(recipe, cases, folder, clock, seconds=200.0):
    return plan_run(recipe, cases, folder, QUICK, Budget(seconds, clock.now, clock))


def test_a_run_by_the_clock_ends_in_time_with_its_weights(recipe, cases, tmp_path, clock):
    begun = clock.now
    run = plan(recipe, cases, tmp_path, clock)
    # Two epochs of two steps and a look each were measured: 42 of 200 s.
    assert clock.now - begun == 42
    assert "steps of linknet 8 at 10 s, 50 s for evaluation" in run.remark
    before = clock.steps
    train_ensemble(run.recipe, cases, tmp_path, QUICK, watches=[[each] for each in run.deadlines])
    assert clock.steps - before == run.recipe.members[0].steps == 8
    assert clock.now - begun <= 200 - FINISH_S
    assert (tmp_path / "1-linknet" / WEIGHTS).is_file()


def test_a_machine_that_has_become_slower_ends_in_time_too(recipe, cases, tmp_path, clock):
    begun = clock.now
    run = plan(recipe, cases, tmp_path, clock)
    clock.step_s = 30.0
    before = clock.steps
    train_ensemble(run.recipe, cases, tmp_path, QUICK, watches=[[each] for each in run.deadlines])
    assert clock.steps - before == 4  # of 8; the fourth reaches the deadline
    assert clock.now - begun <= 200 - FINISH_S + clock.step_s
    assert (tmp_path / "1-linknet" / WEIGHTS).is_file()


def test_a_slow_first_step_is_no_pace_and_the_run_ends_in_time(recipe, cases, tmp_path, clock):
    """As with torch.compile, which compiles in the first step of every training."""
    begun, clock.first_s = clock.now, 40.0
    run = plan(recipe, cases, tmp_path, clock, seconds=230.0)
    assert "steps of linknet 4 at 10 s" in run.remark
    train_ensemble(run.recipe, cases, tmp_path, QUICK, watches=[[each] for each in run.deadlines])
    assert clock.steps == 4 + 4
    assert clock.now - begun <= 230 - FINISH_S
    assert (tmp_path / "1-linknet" / WEIGHTS).is_file()


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_a_clock_that_jumps_in_a_training_leaves_a_member_that_is_done(
    recipe, cases, tmp_path, clock, jump_s
):
    run = plan(recipe, cases, tmp_path, clock, seconds=150.0)
    before = clock.steps
    clock.jumps[before + 2] = jump_s
    train_ensemble(run.recipe, cases, tmp_path, QUICK, watches=[[each] for each in run.deadlines])
    # Back: the planned steps end it. Ahead: the time is over.
    assert clock.steps - before == (4 if jump_s < 0 else 2)
    assert (tmp_path / "1-linknet" / WEIGHTS).is_file()


def test_a_clock_that_jumped_back_while_the_pace_was_measured_ends_in_time(
    recipe, cases, tmp_path, clock
):
    clock.jumps[3] = -30.0  # in the epoch that is measured: steps seem to take no time
    run = plan(recipe, cases, tmp_path, clock, seconds=150.0)
    assert run.recipe.members[0].steps > 1000
    begun = clock.now
    train_ensemble(run.recipe, cases, tmp_path, QUICK, watches=[[each] for each in run.deadlines])
    assert clock.now - begun <= 150 - FINISH_S + clock.step_s
    assert (tmp_path / "1-linknet" / WEIGHTS).is_file()


def test_a_clock_that_jumped_ahead_while_the_pace_was_measured_is_named_as_a_slow_machine(
    recipe, cases, tmp_path, clock
):
    clock.jumps[3] = 3600.0
    with pytest.raises(BadRecipe, match=r"reading and measuring took 3642 s"):
        plan(recipe, cases, tmp_path, clock)


def test_the_time_is_counted_by_a_clock_that_nobody_sets():
    assert Budget(60, 0).clock is time.monotonic


def test_an_interrupted_run_keeps_its_plan_and_measures_nothing_again(
    recipe, cases, tmp_path, clock
):
    first = plan(recipe, cases, tmp_path, clock)
    clock.now += 5000
    steps = clock.steps
    again = plan(recipe, cases, tmp_path, clock)
    assert again.recipe == first.recipe
    assert clock.steps == steps
    assert again.deadlines[0].at_s == clock.now + 200 - FINISH_S - 1


def test_a_member_that_is_done_takes_no_time_from_the_others(tiny_recipe, tmp_path, clock):
    pace = {"step_s": 1.0, "look_s": 0.0, "start_s": 0.0}
    plan_ = {"epoch_steps": 5, "cycles": [[10], [10], [10]], "paces": [pace] * 3, "finish_s": 20.0}
    (tmp_path / PLAN).write_text(json.dumps(plan_))
    (tmp_path / "1-unet").mkdir()
    (tmp_path / "1-unet" / WEIGHTS).touch()
    run = plan(tiny_recipe, None, tmp_path, clock, seconds=120)
    assert [each.at_s - clock.now for each in run.deadlines] == [0, 50, 100]


@pytest.mark.parametrize(("seconds", "minutes"), [(60, "1"), (6, r"0\.1")])
def test_too_few_minutes_are_refused_before_any_training(
    recipe, cases, tmp_path, clock, seconds, minutes
):
    refused = rf"^{minutes} minutes are too few: .* 42 s, evaluation and export"
    with pytest.raises(BadRecipe, match=refused):
        plan(recipe, cases, tmp_path, clock, seconds)
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_plan_goes_on_without_one(recipe, tmp_path, clock):
    (tmp_path / BEGUN).write_text("{}")
    with pytest.raises(OtherRun, match="begun without --minutes: leave the option out"):
        plan(recipe, None, tmp_path, clock)


def test_another_recipes_plan_is_refused(recipe, tmp_path, clock):
    (tmp_path / PLAN).write_text('{"cycles": [[2], [2]]}')
    with pytest.raises(BadRecipe, match="is no plan of this recipe's run"):
        plan(recipe, None, tmp_path, clock)


@pytest.mark.parametrize("machine", [Machine("cpu", devices=2), Machine("cpu", nodes=2)])
def test_several_processes_are_refused(recipe, tmp_path, clock, machine):
    with pytest.raises(BadMachine, match="plans for one device"):
        plan_run(recipe, None, tmp_path, machine, Budget(60, 0, clock))


def test_the_evaluation_is_measured_on_a_few_slices_and_the_export_assumed(recipe, cases):
    ticks = iter((0.0, 8.0))
    finish_s = measure_finish(recipe, cases, lambda: next(ticks))
    judged = len(cases.held_out) + 2 * len(cases.validation)
    assert finish_s == judged * 2.0 + EXPORT_S + EXPORT_MEMBER_S
