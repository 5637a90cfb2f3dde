import json

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from engine.devices import open_device
from engine.model import load_model
from engine.volume import Label
from trainer import export
from trainer.commands import register
from trainer.errors import BadRecipe, ParityError
from trainer.evaluation.fusions import compare_fusions
from trainer.export import Description, export_model
from trainer.graph import EnsembleGraph
from trainer.networks import NETWORKS
from trainer.recipe import load_recipe
from trainer.run import read_cases
from trainer.training import train_member

WORDS = Description(recipe={}, data=(), evaluation={}, card="card", licence="licence")


@pytest.fixture(scope="module")
def members(tiny_recipe):
    torch.manual_seed(0)
    return [NETWORKS[m.network](2, 3).eval() for m in tiny_recipe.members]


def test_a_stopped_run_goes_on_where_it_was(tiny_recipe, data_folder, tmp_path):
    cases = read_cases(tiny_recipe, data_folder)
    member = tiny_recipe.members[1]
    steps = []
    first = train_member(tiny_recipe, member, cases.train, tmp_path, steps.append)
    again = train_member(tiny_recipe, member, cases.train, tmp_path, steps.append)
    assert [step.step for step in steps] == [4]  # the second call had nothing left to do
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_training_makes_the_loss_smaller(tiny_recipe, data_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.training.CHECKPOINT_EVERY", 10)
    cases = read_cases(tiny_recipe, data_folder)
    member = tiny_recipe.members[1].model_copy(update={"cycles": (30,)})
    steps = []
    train_member(tiny_recipe, member, cases.train, tmp_path, steps.append)
    assert steps[-1].loss < steps[0].loss


def test_a_model_folder_answers_in_the_engine_as_its_members_do(members, tiny_recipe, tmp_path):
    export_model(members, tiny_recipe, WORDS, tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert model.members == ("unet", "linknet", "fpn")
    hu = np.random.default_rng(1).integers(-200, 300, (3, 80, 100)).astype(np.float16)
    answer = open_device(model).run(hu, (2.0, 1.5))
    with torch.inference_mode():
        graph = EnsembleGraph(members, tiny_recipe.working)
        labels, agreement = graph(torch.from_numpy(hu), torch.tensor([2.0, 1.5]))
    assert np.mean(answer.labels != labels.numpy()) < 0.001
    np.testing.assert_allclose(answer.agreement, agreement.numpy(), atol=5)


def test_a_graph_that_answers_otherwise_is_not_written(members, tiny_recipe, tmp_path, monkeypatch):
    answer = export._answer

    def another(graph):
        reference = answer(graph)
        return export.Reference(
            reference.hu, reference.spacing, 1 - (reference.labels > 0), reference.agreement
        )

    monkeypatch.setattr("trainer.export._answer", another)
    with pytest.raises(ParityError, match="nothing was written"):
        export_model(members, tiny_recipe, WORDS, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_large_field_of_view_is_seen_whole(members, tiny_recipe):
    graph = EnsembleGraph(members, tiny_recipe.working)
    hu = torch.zeros((1, 64, 64)).half()
    native, working = graph.marks(hu, torch.tensor([9.0, 9.0]))
    assert native.shape == (3, 1, 2, 64, 64)
    torch.testing.assert_close(native, working, atol=1e-4, rtol=1e-3)


def test_every_fusion_is_measured_on_the_held_out_patients(members, tiny_recipe, data_folder):
    cases = read_cases(tiny_recipe, data_folder)
    graph = EnsembleGraph(members, tiny_recipe.working)
    figures = compare_fusions(graph, cases.held_out, 1.5)
    assert list(figures) == ["unet", "linknet", "fpn", "blumberg", "mean", "majority"]
    assert set(figures["mean"].liver) == set(cases.split.held_out)


def test_an_unknown_recipe_names_those_that_there_are():
    with pytest.raises(BadRecipe, match="base"):
        load_recipe("nonesuch")


def test_an_unknown_key_of_a_recipe_is_named(tmp_path):
    (tmp_path / "mine.toml").write_text("colour = 1\n")
    with pytest.raises(BadRecipe, match="colour"):
        load_recipe(str(tmp_path / "mine.toml"))


def test_the_command_trains_exports_and_evaluates(data_folder, tiny_recipe, tmp_path):
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(_toml(tiny_recipe.model_dump(mode="json")))
    model = tmp_path / "model"
    app = typer.Typer()
    register(app)
    arguments = ["train", str(recipe), "--data", str(data_folder)]
    result = CliRunner().invoke(app, [*arguments, "--run", str(tmp_path), "--model", str(model)])
    assert result.exit_code == 0, result.output
    manifest = json.loads((model / "model.json").read_text())
    assert manifest["evaluation"]["held_out_patients"]
    assert "Model card: tiny" in (model / "MODEL_CARD.md").read_text()
    result = CliRunner().invoke(
        app, ["evaluate", "--data", str(data_folder), "--model", str(model)]
    )
    assert result.exit_code == 0, result.output
    for patient in manifest["evaluation"]["held_out_patients"]:
        assert patient in result.output
    assert Label.TUMOUR.name.lower() in result.output


def _toml(table: dict) -> str:
    """Write a recipe as TOML: plain values first, then tables, then the members."""
    plain = {k: v for k, v in table.items() if not isinstance(v, dict) and k != "members"}
    lines = [f"{k} = {json.dumps(v)}" for k, v in plain.items()]
    parts = {f"[{k}]": v for k, v in table.items() if isinstance(v, dict)}
    blocks = [*parts.items(), *(("[[members]]", member) for member in table["members"])]
    for head, block in blocks:
        lines += [head, *(f"{k} = {json.dumps(v)}" for k, v in block.items())]
    return "\n".join(lines)
