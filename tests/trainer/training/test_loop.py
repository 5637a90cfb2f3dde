import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from trainer.batches.data_loader import Batches, Steps
from trainer.batches.sampling import Sampler
from trainer.datasets.cases.patient_split import split_patients
from trainer.errors import BadData, BadRecipe, Interrupted
from trainer.recipe.recipe import Recipe, load_recipe
from trainer.training.callbacks import Bar
from trainer.training.ensemble import Cases, kept_hu, narrow, read_cases
from trainer.training.lightning_module import Learner, planes
from trainer.training.loop import BEST, LAST, WEIGHTS, train_member
from trainer.training.machine import Machine
from trainer.training.optimiser import WATCHED, one_cycle

QUICK = Machine(accelerator="cpu", workers=0, quiet=True)


@pytest.fixture(scope="module")
def cases(tiny_recipe, data_folder) -> Cases:
    return read_cases(tiny_recipe.model_copy(update={"validation": 3}), data_folder)


def learn(recipe: Recipe, cases: Cases, folder, steps=None):
    member = recipe.members[1]
    if steps:
        member = member.model_copy(update={"cycles": (steps,)})
    return train_member(recipe, member, cases.train, cases.validation, folder, QUICK)


def crash_at_step_3(self, batch, number, step=Learner.training_step):
    if self.global_step == 3:
        raise RuntimeError("power cut")
    return step(self, batch, number)


def same(one, other) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_stopped_run_ends_as_one_that_was_never_stopped(
    tiny_recipe, cases, tmp_path, monkeypatch
):
    made, make = [], Batches.__getitem__
    monkeypatch.setattr(Batches, "__getitem__", lambda *of: made.append(of[1]) or make(*of))
    whole = learn(tiny_recipe, cases, tmp_path / "whole")
    assert made == [0, 1, 2, 3]
    stopped = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "training_step", crash_at_step_3)
        with pytest.raises(RuntimeError, match="power cut"):
            learn(tiny_recipe, cases, stopped)
    assert not (stopped / WEIGHTS).exists()
    made.clear()
    assert same(whole, learn(tiny_recipe, cases, stopped))
    assert made == [2, 3]
    assert json.loads((stopped / "pace.json").read_text())["steps"] == 2


@pytest.mark.parametrize(
    "schedule",
    [
        {"stop_patience": 5},
        {"stop_patience": 1, "stop_gain": 1.0},
        {"rate": "plateau", "plateau_patience": 0, "stop_gain": 1.0, "stop_patience": 9},
    ],
    ids=["patient", "without gain", "plateau"],
)
def test_a_run_that_validation_steers_resumes_as_if_never_stopped(
    tiny_recipe, cases, tmp_path, monkeypatch, schedule
):
    schedule = tiny_recipe.schedule.model_copy(update=schedule | {"epoch_steps": 1})
    recipe = tiny_recipe.model_copy(update={"schedule": schedule, "average": 0.0})
    whole = learn(recipe, cases, tmp_path / "whole", steps=4)
    stopped = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "training_step", interrupted_at_step_1)
        with pytest.raises(Interrupted, match="saved at epoch 1 of 4; repeat this command to go"):
            learn(recipe, cases, stopped, steps=4)
    assert same(whole, learn(recipe, cases, stopped, steps=4))
    last = [torch.load(tmp_path / run / f"{LAST}.ckpt", weights_only=False) for run in RUNS]
    assert last[0]["global_step"] == last[1]["global_step"]
    curves = [each["callbacks"]["CurveCallback"]["epochs"] for each in last]
    assert curves[0] == curves[1]


RUNS = "whole", "stopped"


def interrupted_at_step_1(self, batch, number, step=Learner.training_step):
    if self.global_step == 1:
        raise KeyboardInterrupt
    return step(self, batch, number)


@pytest.fixture(autouse=True)
def _ctrl_c_stays_as_it_was():
    """Lightning ignores SIGINT for good once it has met one."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_member_that_is_done_is_only_loaded(tiny_recipe, cases, tmp_path, monkeypatch):
    first = learn(tiny_recipe, cases, tmp_path)
    monkeypatch.setattr("trainer.training.loop._fit", lambda *_: pytest.fail("trained again"))
    assert same(first, learn(tiny_recipe, cases, tmp_path))


def test_a_run_leaves_a_curve_its_pace_and_files_for_tensorboard(tiny_recipe, cases, tmp_path):
    learn(tiny_recipe, cases, tmp_path)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    pace = json.loads((tmp_path / "pace.json").read_text())
    assert (pace["steps"], pace["slices"]) == (4, 12)
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_what_is_kept_is_the_running_average_of_the_weights(tiny_recipe, cases, tmp_path):
    kept = learn(tiny_recipe, cases, tmp_path).state_dict()
    checkpoint = torch.load(tmp_path / f"{LAST}.ckpt", weights_only=False)
    last = checkpoint["current_model_state"]
    assert any(not torch.equal(each, last[f"network.{name}"]) for name, each in kept.items())
    assert all(
        torch.equal(each, checkpoint["state_dict"][f"network.{name}"])
        for name, each in kept.items()
    )


def test_a_run_without_gain_stops_and_keeps_the_best_epoch(
    tiny_recipe, cases, tmp_path, monkeypatch
):
    def worse_and_worse(self):
        self.log(WATCHED, -float(self.current_epoch))

    monkeypatch.setattr(Learner, "on_validation_epoch_end", worse_and_worse)
    stop = {"stop_patience": 1, "stop_gain": 1.0, "epoch_steps": 1}
    schedule = tiny_recipe.schedule.model_copy(update=stop)
    recipe = tiny_recipe.model_copy(update={"schedule": schedule})
    kept = learn(recipe, cases, tmp_path, steps=50).state_dict()
    assert json.loads((tmp_path / "pace.json").read_text())["steps"] == 2
    best, last = (
        torch.load(tmp_path / f"{name}.ckpt", weights_only=False)["state_dict"]
        for name in (BEST, LAST)
    )
    assert all(torch.equal(each, best[f"network.{name}"]) for name, each in kept.items())
    assert any(not torch.equal(each, last[f"network.{name}"]) for name, each in kept.items())


def test_a_run_that_never_stops_early_keeps_the_last_epoch(
    tiny_recipe, cases, tmp_path, monkeypatch
):
    def worse_and_worse(self):
        self.log(WATCHED, -float(self.current_epoch))

    monkeypatch.setattr(Learner, "on_validation_epoch_end", worse_and_worse)
    # As `--set schedule.stop_patience=0` of a recipe that stops early.
    schedule = type(tiny_recipe.schedule).model_validate(
        tiny_recipe.schedule.model_dump() | {"stop_patience": 0, "epoch_steps": 1}
    )
    recipe = tiny_recipe.model_copy(update={"schedule": schedule})
    kept = learn(recipe, cases, tmp_path, steps=3).state_dict()
    last = torch.load(tmp_path / f"{LAST}.ckpt", weights_only=False)["state_dict"]
    assert json.loads((tmp_path / "pace.json").read_text())["steps"] == 3
    assert all(torch.equal(each, last[f"network.{name}"]) for name, each in kept.items())


def test_what_an_epoch_leaves_to_chance_does_not_depend_on_what_was_before(tiny_recipe):
    learner = Learner(tiny_recipe, tiny_recipe.members[1], 0)
    drawn = []
    for before in (1, 5):
        torch.rand(before)
        learner.on_train_epoch_start()
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)


def test_a_batch_is_the_same_whoever_makes_it(tiny_recipe, cases):
    one, other = (Batches(tiny_recipe, 3, cases.train) for _ in range(2))
    assert torch.equal(one[7][0], other[7][0])
    assert not torch.equal(one[7][0], one[8][0])


def test_machines_share_the_batches_out():
    first, second = (list(Steps(3, lambda: 10, (rank, 2))) for rank in (0, 1))
    assert first == [20, 22, 24]
    assert second == [21, 23, 25]


def test_several_processes_train_together_and_all_get_what_was_kept(tmp_path):
    command = [sys.executable, "-m", "tests.trainer.training.two_processes", str(tmp_path)]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(command, env=alone, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = ((tmp_path / f"{each}.txt").read_text() for each in ("first", "second"))
    assert float(first) == float(second)


def test_epochs_are_counted_from_1_to_the_last(tiny_recipe):
    assert Bar("2-linknet", 2)._get_train_description(1) == "2-linknet, epoch 2 of 2"


@pytest.mark.parametrize(
    ("patients", "held_out"), [(1, 0), (2, 1), (4, 1), (5, 1), (9, 1), (10, 2)]
)
def test_of_few_patients_one_is_held_out_and_never_the_only_one(cases, patients, held_out):
    slices = cases.train[np.zeros(patients, int)]
    object.__setattr__(slices, "patient", np.array([f"p{n}" for n in range(patients)]))
    split = split_patients(slices, 5, 0)
    assert (len(split.train), len(split.held_out)) == (patients - held_out, held_out)


def test_slices_that_show_nothing_of_what_a_batch_asks_for_are_refused_by_name(cases, tiny_recipe):
    liver = cases.train[cases.train.liver_pixels > 0]
    batch = tiny_recipe.batch.model_copy(
        update={"tumour": 0, "other": 0, "phantom": 0, "nothing": 3}
    )
    with pytest.raises(BadData, match="nothing: 3"):
        Sampler(liver, batch)


def test_the_rate_rises_and_falls_and_peaks_at_half_in_the_next_cycle():
    rates = [one_cycle(step, (100, 60)) for step in range(160)]
    assert max(rates[:100]) == rates[5] == 1
    assert max(rates[100:]) == pytest.approx(0.5)
    assert rates[99] < 0.01 > rates[159]


def test_bounds_narrow_to_what_the_slices_have_kept(cases):
    recipe = load_recipe("bluenet")
    kept = kept_hu(cases.train)
    narrowed = narrow(recipe, cases.train).working
    assert narrowed.clip_hu == narrowed.windows[0] == (kept[0], min(kept[1], 200))
    assert kept[0] > -200


def test_validation_patients_are_neither_learnt_from_nor_held_out(cases):
    groups = [set(each.patient) for each in (cases.train, cases.validation, cases.held_out)]
    assert all(groups)
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]


def test_a_share_of_the_patients_is_part_of_a_larger_one(tiny_recipe, data_folder):
    few, more = (
        set(read_cases(tiny_recipe.model_copy(update={"share": share}), data_folder).split.train)
        for share in (0.3, 0.6)
    )
    assert few < more


def test_an_unknown_recipe_names_those_that_there_are():
    with pytest.raises(BadRecipe, match="base"):
        load_recipe("nonesuch")


def test_an_unknown_key_of_a_recipe_is_named(tmp_path):
    (tmp_path / "mine.toml").write_text("colour = 1\n")
    with pytest.raises(BadRecipe, match="colour"):
        load_recipe(str(tmp_path / "mine.toml"))


def test_a_recipe_can_be_changed_from_outside():
    recipe = load_recipe("bluenet", ["share=0.25", "members.0.cycles=[7]", "working.size=512"])
    assert (recipe.share, recipe.members[0].cycles, recipe.working.size) == (0.25, (7,), 512)


@pytest.mark.parametrize("change", ["share=two", "members.9.seed=1", "share", "colour=1"])
def test_a_change_that_makes_no_sense_is_refused(change):
    with pytest.raises(BadRecipe):
        load_recipe("bluenet", [change])


def test_what_is_wrong_with_a_recipe_is_said_key_by_key():
    with pytest.raises(BadRecipe) as caught:
        load_recipe("bluenet", ["colour=1", "working.size=100"])
    assert "colour: there is no such key" in str(caught.value)
    assert "working.size: Input should be a multiple of 32" in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["bluenet", "resunet-cascade", "unet-slices", "multiclass-windows", "unet-nifti"]
)
def test_a_published_recipe_says_where_it_departs_and_how_its_figures_came_about(name):
    origin = load_recipe(name).origin
    assert origin is not None
    assert origin.departures
    assert origin.dice
    assert origin.split


def test_the_recipe_in_the_default_models_manifest_can_still_be_read():
    from engine.model import default_model_folder

    manifest = json.loads((default_model_folder() / "model.json").read_text())
    assert Recipe.model_validate(manifest["recipe"]).fusion.kind == "weighted"


def test_a_member_learns_with_the_neighbours_of_its_slices(tiny_recipe, cases, tmp_path):
    working = tiny_recipe.working.model_copy(update={"neighbours": 1})
    recipe = tiny_recipe.model_copy(update={"working": working})
    network = learn(recipe, cases, tmp_path)
    assert all(torch.isfinite(weights).all() for weights in network.parameters())
    assert json.loads((tmp_path / "pace.json").read_text())["steps"] > 0


def test_an_epoch_tells_the_mean_iou_of_three_classes_and_each_ones_own(tiny_recipe):
    random = torch.Generator().manual_seed(0)
    learner = Learner(tiny_recipe, tiny_recipe.members[1], 2)
    said: dict[str, torch.Tensor] = {}
    learner.log = lambda name, value, **_: said.update({name: value})
    learner.log_dict = lambda values, **_: said.update(values)
    found = torch.randint(0, 3, (2, 32, 32), generator=random)
    target = torch.randint(0, 3, (2, 32, 32), generator=random).to(torch.uint8)
    learner.network.forward = lambda seen: 9.0 * one_hot(found, 3).movedim(-1, 1)
    learner.on_validation_epoch_start()
    learner.validation_step((torch.zeros(2, 32, 32), target, torch.tensor([0, 1])), 0)
    learner.on_validation_epoch_end()
    classes = [iou(found == each, target == each) for each in range(3)]
    assert said["mean_iou"] == pytest.approx(np.mean(classes))
    livers = [iou(one > 0, other > 0) for one, other in zip(found, target, strict=True)]
    assert said["liver_iou"] == pytest.approx(np.mean(livers))


def iou(one, other) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_what_was_not_drawn_has_no_say_in_the_mean_iou():
    marked = torch.tensor([[[[True, True, False]], [[False, True, False]]]])
    known = torch.tensor([[[[True, True, True]], [[False, True, True]]]])
    assert planes(marked, known)[0, :, 0].tolist() == [
        [True, True, False],
        [False, True, False],
        [False, False, False],
        [False, False, True],
    ]
