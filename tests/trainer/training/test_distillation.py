"""Members that learn from a teacher besides the labels."""

from pathlib import Path

import pytest
import torch
from torch.nn.functional import softmax

from engine.model import load_model
from tests.trainer.recipe.test_recipe import SMALL, hepar
from trainer.batches.data_loader import Batches
from trainer.ensemble.graph import EnsembleGraph
from trainer.ensemble.members import make_member, to_marks
from trainer.recipe.recipe import Recipe
from trainer.recipe.sections import Distil
from trainer.training.distillation import Teacher, distance
from trainer.training.ensemble import read_cases
from trainer.training.lightning_module import Learner


@pytest.mark.parametrize("planes", [3, 2], ids=["classes", "two networks"])
def test_a_member_that_agrees_with_its_teacher_is_at_no_distance(planes):
    scores = 3 * torch.randn((2, planes, 8, 8), generator=torch.Generator().manual_seed(0))
    assert abs(float(distance(scores, to_marks(scores)))) < 1e-5
    assert distance(-scores, to_marks(scores)) > 0.5


def test_the_distance_is_the_divergence_of_the_two_distributions():
    scores = torch.tensor([0.5, -1.0, 2.0]).reshape(1, 3, 1, 1)
    marks = torch.tensor([0.7, 0.2]).reshape(1, 2, 1, 1)
    p, q = torch.tensor([0.3, 0.5, 0.2]), softmax(scores.flatten(), dim=0)
    torch.testing.assert_close(distance(scores, marks), (p * (p / q).log()).sum())


def test_the_sure_do_not_make_it_infinite():
    scores = torch.tensor([90.0, -90.0, -90.0]).reshape(1, 3, 1, 1).requires_grad_()
    apart = distance(scores, torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1))
    (gradient,) = torch.autograd.grad(apart, scores)
    assert torch.isfinite(apart)
    assert torch.isfinite(gradient).all()


@pytest.fixture(scope="module")
def recipe(tiny_recipe) -> Recipe:
    """One LinkNet that listens to its teacher more than to the labels."""
    changes = {"members": tiny_recipe.members[1:2], "distil": Distil(weight=20.0)}
    return tiny_recipe.model_copy(update=changes)


@pytest.fixture(scope="module")
def teacher(recipe) -> Teacher:
    """A network that has learnt nothing, whose answers nobody would guess from the labels."""
    torch.manual_seed(7)
    graph = EnsembleGraph([make_member(recipe, recipe.members[0])], recipe).eval()
    return Teacher("toy 0.1", graph, frozenset())


def test_a_teacher_leaves_no_gradient_and_answers_with_the_mean_of_its_members(recipe, teacher):
    hu = torch.rand((2, 64, 64)) * 160
    marks = teacher.marks(hu)
    assert not marks.requires_grad
    (member,) = teacher.graph.members
    torch.testing.assert_close(marks, to_marks(member(teacher.graph.windows(hu))).detach())


@pytest.mark.parametrize("taught", [True, False])
def test_the_distance_to_the_teacher_falls_and_only_with_a_teacher(
    recipe, teacher, data_folder, monkeypatch, taught
):
    monkeypatch.setattr(Learner, "log", lambda *_, **__: None)  # there is no Lightning trainer
    batch = Batches(recipe, 99, read_cases(recipe, data_folder).train)[0]
    learner = Learner(recipe, recipe.members[0], 0, teacher if taught else None)
    optimiser = torch.optim.AdamW(learner.network.parameters(), 0.01)

    def apart() -> float:
        with torch.inference_mode():
            return float(
                distance(learner.network(learner.windows(batch[0])), teacher.marks(batch[0]))
            )

    before = apart()
    for _ in range(12):
        optimiser.zero_grad()
        learner.training_step(batch, 0).backward()
        optimiser.step()
    assert (apart() < before / 2) is taught


CHANGES = [each for change in (*SMALL, "validation=0", "split=''") for each in ("--set", change)]


def train(recipe: str, data: Path, folder: Path, *more: str):
    network = 'members=[{network="linknet", cycles=[2], seed=1}]'
    where = ("--data", str(data), "--run", str(folder), "--workers", "0", "--precision", "32-true")
    return hepar("train", recipe, *where, "--set", network, *CHANGES, *more)


@pytest.fixture(scope="module")
def small(data_folder, tmp_path_factory) -> Path:
    """A model of few pixels that can teach a recipe that sees as many."""
    folder = tmp_path_factory.mktemp("teacher")
    result = train("base", data_folder, folder, "--set", "held_out=2")
    assert result.exit_code == 0, result.output
    return folder / "model"


def test_the_recipe_fast_learns_from_the_model_that_the_command_names(
    small, data_folder, tmp_path, monkeypatch
):
    asked, written, marks = [], [], Teacher.marks
    monkeypatch.setattr(Teacher, "marks", lambda *of: asked.append(of[1]) or marks(*of))
    monkeypatch.setattr("trainer.train_command.export_model", lambda *of: written.append(of[2]))
    result = train("fast", data_folder, tmp_path, "--teacher", str(small))
    assert result.exit_code == 0, result.output
    assert len(asked) == 2  # steps
    (student,) = written
    # Not those that the recipe would draw: the teacher may know them.
    unseen = load_model(small).manifest.evaluation["held_out_patients"]
    assert student.evaluation["held_out_patients"] == unseen
    assert "learnt from the probabilities of base 1.0.0 too" in " ".join(student.card.split())


def test_without_its_teacher_the_recipe_is_refused(data_folder, tmp_path):
    result = train("fast", data_folder, tmp_path)
    assert result.exit_code == 2
    assert "none is named: add --teacher" in " ".join(result.output.split())


def test_a_recipe_that_would_not_listen_refuses_a_teacher(small, data_folder, tmp_path):
    result = train("base", data_folder, tmp_path, "--teacher", str(small))
    assert result.exit_code == 2
    assert "'base' has no [distil]" in " ".join(result.output.split())


def test_a_teacher_that_sees_other_pixels_is_refused(small, data_folder, tmp_path):
    coarse = ("--set", "working.spacing_mm=8.0")
    result = train("fast", data_folder, tmp_path, "--teacher", str(small), *coarse)
    assert result.exit_code == 1
    assert "working.spacing_mm 7.0 != 8.0" in " ".join(result.output.split())
