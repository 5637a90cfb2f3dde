"""A run that goes on from a model folder."""

import json
import re
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
import torch

from engine.model import MANIFEST, load_model
from tests.trainer.recipe.test_recipe import hepar
from trainer.ensemble.graph import open_graph
from trainer.ensemble.members import make_member
from trainer.errors import BadModel
from trainer.evaluation.metrics.overlap import Figures
from trainer.export.figures import to_evaluation
from trainer.recipe.recipe import Recipe, load_recipe
from trainer.training.ensemble import read_cases
from trainer.training.lightning_module import Learner
from trainer.training.loop import train_member
from trainer.training.machine import Machine
from trainer.training.warm_start import calibrate_batch_norms, start_from

SMALL = (
    'members=[{network="linknet", cycles=[2], seed=1}]',
    "name='small'",
    "crop=64",
    "working.size=64",
    "working.spacing_mm=7.0",
    "split=''",  # drawn at random, by `held_out`
    "held_out=3",
    "schedule.epoch_steps=2",
    "phantoms=0",
)


def train(data: Path, folder: Path, *more: str):
    options = [each for change in SMALL for each in ("--set", change)]
    where = ("--data", str(data), "--run", str(folder), "--workers", "0")
    return hepar("train", "base", *where, *options, *more)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("base", SMALL)


@pytest.fixture(scope="module")
def model(data_folder, tmp_path_factory) -> Path:
    """A model that was held to another split than the one its recipe would draw now."""
    folder = tmp_path_factory.mktemp("first")
    result = train(data_folder, folder, "--set", "held_out=2")
    assert result.exit_code == 0, result.output
    return folder / "model"


@pytest.fixture(params=["linknet", "dynunet"])
def network(request, recipe):
    """A network whose norms have learnt, and that sees two windows of three slices."""
    torch.manual_seed(1)
    working = recipe.working.model_copy(update={"neighbours": 1})
    member = recipe.members[0].model_copy(update={"network": request.param})
    made = make_member(recipe.model_copy(update={"working": working}), member).eval()
    for part in made.modules():
        if isinstance(part, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            for values in (part.weight, part.running_var):
                torch.nn.init.uniform_(values, 0.5, 2)
            for values in (part.bias, part.running_mean):
                torch.nn.init.normal_(values)
    return made


def test_norms_are_calibrated_without_a_change_of_any_answer(network):
    seen = torch.rand(4, 6, 64, 64)
    with torch.inference_mode():
        before = network(seen)
        calibrate_batch_norms(network, [torch.rand(4, 6, 64, 64), seen])
        assert not network.training
        torch.testing.assert_close(network(seen), before, atol=1e-3, rtol=1e-3)


def test_a_calibrated_network_answers_in_training_as_in_use(network):
    seen = torch.rand(4, 6, 64, 64)
    with torch.no_grad():
        in_use = network(seen)
        apart = (deepcopy(network).train()(seen) - in_use).abs().max()
        calibrate_batch_norms(network, [seen])
        in_training = network.train()(seen)
    assert apart > 0.1
    torch.testing.assert_close(in_training, in_use, atol=1e-2, rtol=1e-2)


def test_a_member_starts_from_the_weights_that_it_is_given(model, recipe, data_folder, tmp_path):
    (begun,) = start_from(model, recipe).members
    slow = recipe.model_copy(update={"learning_rate": 1e-9})
    cases = read_cases(slow, data_folder)
    machine = Machine(accelerator="cpu", workers=0, quiet=True)
    member = slow.members[0]
    network = train_member(
        slow, member, cases.train, cases.validation, tmp_path, machine, start=begun
    )
    kept, given = network.state_dict(), begun.state_dict()
    kernels = [name for name, weights in given.items() if weights.ndim == 4]
    assert kernels
    assert all(torch.allclose(kept[name], given[name], atol=1e-6) for name in kernels)


def test_a_member_ends_part_of_the_way_from_where_it_started(model, recipe, data_folder, tmp_path):
    (begun,) = start_from(model, recipe).members
    cases = read_cases(recipe, data_folder)
    machine = Machine(accelerator="cpu", workers=0, quiet=True)

    def ended(way):
        member = recipe.members[0].model_copy(update={"way": way})
        slices = cases.train, cases.validation
        return train_member(recipe, member, *slices, tmp_path, machine, start=begun)

    whole, half, none = (ended(way) for way in (1.0, 0.5, 1e-6))
    seen = torch.rand(1, recipe.working.channels, 64, 64)
    with torch.inference_mode():
        found = [each(seen) for each in (begun.eval(), none, half, whole)]
    apart = [float((each - found[0]).abs().mean()) for each in found]
    assert apart[1] == pytest.approx(0, abs=1e-6)
    assert 0.8 * apart[3] > apart[2] > 0.2 * apart[3] > 10 * apart[1]


def test_a_learner_begins_with_norms_that_have_measured_what_they_see(model, recipe):
    (begun,) = start_from(model, recipe).members
    learner = Learner(recipe, recipe.members[0], patients=0)
    learner.begin_at(begun, [160 * torch.rand(4, 1, 64, 64)])
    norms = [part for part in learner.network.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert norms
    assert all(norm.running_mean.abs().max() > 0 for norm in norms)  # as a model folder keeps none


def test_who_was_held_out_before_stays_so_and_the_model_says_where_it_started(
    model, recipe, data_folder, tmp_path
):
    start = start_from(model, recipe)
    assert start.unseen
    assert set(read_cases(recipe, data_folder).split.held_out) != set(start.unseen)
    result = train(data_folder, tmp_path, "--start", str(model))
    assert result.exit_code == 0, result.output
    assert start_from(tmp_path / "model", recipe).unseen == start.unseen
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text()
    card = " ".join(card.split())
    assert "went on from those of small 1.0.0" in card
    sentence = (
        r"small (beats|does not beat) small 1\.0\.0 on \d patients? held out: small liver 0\.\d"
    )
    for said in (" ".join(result.output.split()), card):
        assert re.search(sentence, said), said


def test_patients_whom_the_model_never_met_are_split_by_the_recipe(model, recipe):
    assert start_from(model, recipe).held_out_of(["ours1", "ours2"]) == ()


def test_patients_whom_an_older_model_held_out_stay_so_by_their_new_names(model, recipe, tmp_path):
    older = copytree(model, tmp_path / "older")
    manifest = json.loads((older / MANIFEST).read_text())
    manifest["evaluation"]["held_out_patients"] = ["lits2", "msd10016"]
    (older / MANIFEST).write_text(json.dumps(manifest))
    unseen = start_from(older, recipe).held_out_of(["lits2", "lits3", "lits113"])
    assert unseen == ("lits113", "lits2")


def test_a_model_of_other_networks_is_no_start(model, recipe):
    other = recipe.model_copy(update={"targets": "each"})
    with pytest.raises(BadModel, match="are not the networks of recipe 'small'"):
        start_from(model, other)


def test_where_all_patients_stay_unseen_nobody_is_left_to_learn_from(
    model, data_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "trainer.training.warm_start.WarmStart.held_out_of", lambda _, those: tuple(set(those))
    )
    result = train(data_folder, tmp_path, "--start", str(model))
    assert result.exit_code == 1
    assert "give others beside them" in " ".join(result.output.split())
    assert not (tmp_path / "model").exists()


def test_folds_judge_the_patients_whom_the_model_had_not_met_beside_the_model_itself(
    model, recipe, data_folder, tmp_path, monkeypatch
):
    written = {}
    start = copytree(model, tmp_path / "start")
    manifest = json.loads((start / MANIFEST).read_text())
    manifest["evaluation"]["learnt_patients"].append("patient-gone")
    (start / MANIFEST).write_text(json.dumps(manifest))
    # Writing graphs takes most of the time, and is tested elsewhere.
    monkeypatch.setattr(
        "trainer.train_command.export_model",
        lambda members, recipe, description, folder: written.update(locals()),
    )
    monkeypatch.setattr("trainer.training.callbacks.draw", lambda *_: None)
    result = train(data_folder, tmp_path, "--start", str(start), "--folds", "2")
    assert result.exit_code == 0, result.output
    evaluation = written["description"].evaluation
    assert "patient-gone" in evaluation["learnt_patients"]
    one, other = map(set, evaluation["folds"])
    assert one | other == start_from(model, recipe).unseen
    assert not one & other
    judged = len(evaluation["patient_dice"]["liver"])
    sentence = rf"small (beats|does not beat) small 1\.0\.0 on {judged} patients held out"
    for words in (result.output, written["description"].card):
        assert re.search(sentence, " ".join(words.split())), words
    assert len(written["members"]) == 2


def test_the_model_lists_whom_it_learnt_from_and_whom_the_one_before_did(
    model, recipe, data_folder, tmp_path
):
    """Patients of a model it went on from, too, although the data do not have them any more."""
    cases = read_cases(recipe, data_folder)
    evaluation = json.loads((model / MANIFEST).read_text())["evaluation"]
    learnt, held_out = set(evaluation["learnt_patients"]), set(evaluation["held_out_patients"])
    everyone = {*cases.split.train, *cases.validation.patient, *cases.split.held_out}
    assert learnt | held_out == everyone
    assert not learnt & held_out
    before = load_model(model)
    gone = before.manifest.evaluation | {"learnt_patients": ["patient-gone"]}
    manifest = before.manifest.model_copy(update={"evaluation": gone})
    nobody = {"mean": Figures({}, {})}
    # Those that steer are learnt from, too, as the best epoch is chosen on them.
    steered = read_cases(recipe.model_copy(update={"validation": 3}), data_folder)
    steering = set(steered.validation.patient.tolist())
    assert steering
    assert not steering & set(steered.split.train)
    after = to_evaluation(nobody, steered, "mean", [replace(before, manifest=manifest)])
    assert set(after["learnt_patients"]) == {*steered.split.train, *steering, "patient-gone"}


BOXED = (
    "name='second'",
    'members=[{network="linknet", cycles=[], seed=1}, {network="linknet", cycles=[2], seed=7, '
    "box={spacing_mm=3.0, size=64}, batch={tumour=1, liver=1}}]",
)


def test_a_member_with_a_box_is_learnt_beside_those_of_a_model_that_stay(
    model, recipe, data_folder, tmp_path
):
    options = [each for change in BOXED for each in ("--set", change)]
    result = train(data_folder, tmp_path, *options, "--start", str(model))
    assert result.exit_code == 0, result.output
    both, alone = (load_model(folder) for folder in (tmp_path / "model", model))
    first, second = open_graph(both).members
    (before,) = open_graph(alone).members
    kept = before.state_dict()
    assert all(torch.allclose(first.state_dict()[name], kept[name], atol=1e-6) for name in kept)
    # It began at the like member, and has learnt something since.
    kernels = [name for name, weights in kept.items() if weights.ndim == 4]
    apart = [float((second.state_dict()[name] - kept[name]).abs().max()) for name in kernels]
    assert 0 < max(apart) < 0.5
    boxed = load_recipe("base", (*SMALL, *BOXED))
    again = start_from(tmp_path / "model", boxed)
    assert again.unseen == start_from(model, recipe).unseen
    # Each takes its own of two like networks.
    for member, own in zip(again.members, (first, second), strict=True):
        one, other = member.state_dict(), own.state_dict()
        assert all(torch.equal(one[name], other[name]) for name in one)
    card = " ".join((tmp_path / "model" / "MODEL_CARD.md").read_text().split())
    assert "linknet stayed as there" in card
    assert "linknet-box (seed 7, 64x64 pixels of 3 mm around the liver)" in card


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "add --start with a model"),
        (("--start", "MODEL", "--minutes", "5"), "--minutes shares the time out"),
        (("--start", "MODEL", "--folds", "2"), "leave --folds out"),
        (("--start", "MODEL", "--set", "working.spacing_mm=5.0"), "working.spacing_mm 7.0 != 5.0"),
        (("--start", "MODEL", "--set", "targets='each'"), "are not the networks of recipe"),
        (("--set", "members.1.cycles=[]"), "nobody would learn"),
        (("--set", "members.0.cycles=[2]", "--set", "members.1.way=0.5"), "members.way is part"),
    ],
)
def test_members_that_cannot_stay_as_they_are_are_refused(more, said, model, data_folder, tmp_path):
    options = [each for change in BOXED for each in ("--set", change)]
    named = [str(model) if each == "MODEL" else each for each in more]
    result = train(data_folder, tmp_path, *options, *named)
    assert result.exit_code in (1, 2)
    assert said in " ".join(result.output.split())
