"""Members that see neighbouring slices as a volume, from the recipe to the engine."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from engine.acceptance.reference import read_reference
from engine.devices.onnxruntime_cpu import open_onnxruntime
from engine.model import load_model
from engine.phantom import make_phantom
from engine.serving.cpu import open_device
from engine.volume import Label
from tests.trainer.datasets.sample_data import write_lits
from trainer.commands import register
from trainer.datasets.cases.slices import Slices
from trainer.ensemble.graph import open_graph
from trainer.ensemble.windows import Windows
from trainer.errors import BadRecipe
from trainer.evaluation.run.compare_fusions import compare_fusions
from trainer.networks import IN_DEPTH, resunet, slab
from trainer.recipe.recipe import IN_DEPTH as NAMED_IN_DEPTH
from trainer.recipe.recipe import Recipe, Working, load_recipe
from trainer.training.ensemble import train_ensemble

SPACING = 6.0, 6.5


@pytest.fixture(scope="module", autouse=True)
def _few_levels():
    """What takes long is to trace every layer."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WIDTHS", "KERNELS", "STRIDES"):
            patch.setattr(slab, name, getattr(slab, name)[:3])
        patch.setattr(resunet, "WIDTHS", resunet.WIDTHS[:2])
        yield


@pytest.fixture(scope="module")
def recipe(tiny_recipe) -> Recipe:
    """A 2-D member and one in three dimensions, who see three slices."""
    table = tiny_recipe.model_dump()
    table |= {"program": True, "phantoms": 0, "held_out": 2}
    table["working"] |= {"neighbours": 1}
    member = table["members"][0] | {"cycles": [2]}
    table["members"] = [member | {"network": name} for name in ("resunet", "dynunet")]
    return Recipe.model_validate(table)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Volumes of four patients in the layout of LiTS."""
    folder = tmp_path_factory.mktemp("volumes")
    for number in range(4):
        made = make_phantom(number, shape=(6, 64, 64), spacing_mm=(30.0, 6.0, 6.0))
        write_lits(made, folder, number)
    return folder


@pytest.fixture(scope="module")
def folder(recipe, data, tmp_path_factory) -> Path:
    """The model of a recipe of one's own, as the command learns it from volumes."""
    run = tmp_path_factory.mktemp("run")
    table = recipe.model_dump(mode="json", exclude_none=True)
    mine = run / "my.toml"
    mine.write_text("\n".join(f"{key} = {toml(value)}" for key, value in table.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.train_command.train_ensemble", spread_ensemble)
        hepar("train", mine, "--data", data, "--run", run, "--workers", 0)
    return run / "model"


def spread_ensemble(recipe, *run):
    """Two steps teach nothing: spread the members' scores so that all labels come about."""
    members = train_ensemble(recipe, *run)
    hu = torch.from_numpy(slices().astype(np.float32))
    with torch.no_grad():
        for member in members:
            scores = member(Windows(recipe.working)(hu))
            mean, deviation = scores.mean(dim=(0, 2, 3)), scores.std(dim=(0, 2, 3))
            *_, weight, bias = member.parameters()
            weight *= (4 / deviation).reshape(-1, *[1] * (weight.dim() - 1))
            bias.copy_((bias - mean) * 4 / deviation)
    return members


def hepar(*arguments) -> str:
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def toml(value) -> str:
    """A value as TOML writes it; like JSON but for tables."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


@pytest.fixture(scope="module")
def model(folder):
    return load_model(folder)


@pytest.fixture(scope="module")
def graph(model):
    return open_graph(model)


def slices(count=7) -> np.ndarray:
    phantom = make_phantom(8, shape=(12, 64, 64), spacing_mm=(15.0, *SPACING), tumours=4)
    return phantom.volume.hu[2 : 2 + count].astype(np.float16)


def test_the_recipe_knows_which_networks_are_in_three_dimensions():
    assert set(IN_DEPTH) == NAMED_IN_DEPTH


def test_depth_runs_from_the_feet_to_the_head_and_windows_stay_windows():
    windows = ((0, 100), (50, 200))
    working = Working(spacing_mm=1, size=32, clip_hu=(0, 200), windows=windows, neighbours=2)
    hu = torch.randint(0, 200, (7, 32, 32)).float()
    stacked = IN_DEPTH["dynunet"](working.channels, 5, 3).stacked(Windows(working)(hu))
    assert stacked.shape == (7, 2, 5, 32, 32)
    for own in range(7):
        for window, (low, high) in enumerate(windows):
            for depth in range(5):
                there = min(max(own + depth - 2, 0), 6)
                expected = ((hu[there] - low) / (high - low)).clamp(0, 1)
                torch.testing.assert_close(stacked[own, window, depth], expected)


def test_upside_down_kernels_see_upside_down_slices_alike():
    torch.manual_seed(0)
    network = IN_DEPTH["dynunet"](3 * 2, 3, 2).eval()
    own, below, above = torch.rand(3, 1, 2, 32, 32)
    with torch.inference_mode():
        scores = network(torch.cat([own, below, above], dim=1))
        for weight in network.parameters():
            if weight.dim() == 5:
                weight.copy_(weight.flip(2))
        turned = network(torch.cat([own, above, below], dim=1))
    torch.testing.assert_close(turned, scores, atol=1e-4, rtol=1e-4)


def test_a_recipe_without_neighbours_for_it_is_refused():
    with pytest.raises(BadRecipe, match=r"dynunet sees slices in depth.*set it to 1, 2 or 3"):
        load_recipe("base", ['members=[{network="dynunet", cycles=[2], seed=1}]'])


def test_the_reference_holds_what_a_device_could_get_wrong(model):
    _, _, expected = read_reference(model)
    assert set(np.unique(expected.labels)) == set(Label)


@pytest.mark.parametrize("open_", [open_device, open_onnxruntime])
def test_an_answer_depends_on_the_slices_beside_it_and_on_no_others(model, open_):
    device, hu = open_(model), slices()
    before = device.run(hu, SPACING).labels
    changed = hu.copy()
    changed[3] = 200 - hu[3]
    after = device.run(changed, SPACING).labels
    differs = (before != after).any(axis=(1, 2))
    assert differs.tolist() == [False, False, True, True, True, False, False]


def test_the_engine_answers_as_torch_does_however_a_call_is_cut(model, graph):
    hu = slices(9)
    with torch.inference_mode():
        labels, _ = graph(torch.from_numpy(hu), torch.tensor(SPACING))
    device = open_device(model)
    assert device.neighbours == 1
    found = device.run(hu, SPACING).labels
    assert np.mean(found != labels.numpy()) < 0.001
    part = device.run(hu[2:6], SPACING).labels
    np.testing.assert_array_equal(part[1:-1], found[3:5])


def test_slices_that_bring_their_neighbours_are_marked_as_in_their_volume(graph):
    hu = torch.from_numpy(slices(5))
    spacing = torch.tensor(SPACING)
    with torch.inference_mode():
        whole, _ = graph.marks(hu, spacing)
        alone, _ = graph.marks(hu[[2, 1, 3]][None], spacing)
    torch.testing.assert_close(alone[:, 0], whole[:, 2], atol=1e-4, rtol=1e-4)


def test_the_order_of_slices_in_a_file_changes_no_figure(graph):
    phantom = make_phantom(8, shape=(5, 64, 64), spacing_mm=(30.0, 6.0, 6.0))
    names, mm = np.array(["anna"] * 5), np.full(5, 6, np.float32)
    place = np.arange(5, dtype=np.float32) * 30
    ordered = Slices(phantom.volume.hu, phantom.truth.labels, names, mm, names, place)
    shuffled = ordered[np.array([3, 0, 4, 2, 1])]
    one, other = (compare_fusions(graph, each, 1.5) for each in (ordered, shuffled))
    assert one["mean"].liver == other["mean"].liver


def test_a_model_says_what_it_sees_and_is_judged_and_looked_into(folder, data, tmp_path):
    manifest = json.loads((folder / "model.json").read_text())
    assert manifest["working"]["neighbours"] == 1
    assert manifest["members"] == ["resunet", "dynunet"]
    card = " ".join((folder / "MODEL_CARD.md").read_text().split())
    assert "of 3 slices, their own in the middle" in card
    assert "on OpenVINO" in hepar("evaluate", "--data", data, "--model", folder)
    hepar("explain", folder, "--data", data, "--slice", 2, "--output", tmp_path)
    assert "dynunet" in (tmp_path / "explanation.html").read_text()
