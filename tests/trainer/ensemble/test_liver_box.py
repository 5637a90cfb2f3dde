import numpy as np
import openvino
import pytest
import torch

from engine.devices.openvino_cpu import OpenVino, open_openvino
from engine.model import Model, load_model
from engine.serving.cpu import open_device
from trainer.ensemble.graph import EnsembleGraph, open_graph
from trainer.ensemble.liver_box import box_around
from trainer.ensemble.members import make_member
from trainer.errors import BadRecipe
from trainer.export.model_folder import Description, export_model
from trainer.recipe.recipe import LiverBox, Recipe, load_recipe, of_member


class Above(torch.nn.Module):
    """Marks as liver, or as tumour too, what lies above a part of its first channel."""

    def __init__(self, part, tumour):
        super().__init__()
        self.part, self.tumour = part, tumour
        self.seen = []

    def forward(self, seen):
        self.seen.append(seen)
        score = (seen[:, :1] - self.part) * 100
        none = torch.zeros_like(score)
        low = torch.full_like(score, -100)
        return torch.cat([none, low, score] if self.tumour else [none, score, low], dim=1)


def boxed(recipe: Recipe, **box) -> Recipe:
    """Return the recipe with one member for whole slices, and one with a box."""
    first = recipe.members[0]
    second = first.model_copy(update={"box": LiverBox(**{"spacing_mm": 1.0, "size": 64} | box)})
    return recipe.model_copy(update={"members": (first, second)})


def livers(*places) -> torch.Tensor:
    """Return slices (n, 128, 128) with a liver of 80 HU at each place, and a lesion in it."""
    hu = torch.zeros((len(places), 128, 128))
    for slice_, (row, column) in zip(hu, places, strict=True):
        slice_[row : row + 30, column : column + 20] = 90
        slice_[row + 5 : row + 8, column + 5 : column + 8] = 150
    return hu


def test_a_box_is_centred_on_the_liver_and_wide_enough_for_it():
    liver = torch.zeros((3, 100, 200), dtype=torch.bool)
    liver[0, 10:20, 150:170] = True
    liver[1, :, 20:180] = True
    step_mm, middle_mm = box_around(liver, torch.tensor(2.0), 64, 1.0, 5.0)
    assert middle_mm.tolist() == [[-70, 120], [0, 0], [0, 0]]
    assert step_mm.tolist() == pytest.approx([1.0, (320 + 10) / 64, 1.0])


def test_a_member_with_a_box_sees_the_liver_finely_wherever_it_lies(tiny_recipe):
    finds, marks = Above(0.3, tumour=False), Above(0.8, tumour=True)
    graph = EnsembleGraph([finds, marks], boxed(tiny_recipe)).eval()
    hu, spacing = livers((10, 20), (80, 90), (50, 60)), torch.tensor([2.0, 2.0])
    native, working = graph.marks(hu.half(), spacing)
    assert torch.equal(native[1, :, 1] > 0.5, hu > 130)
    # On the working grid of 7 mm a lesion of 6 mm is a pixel or two, at its place.
    for index, (row, column) in enumerate(((10, 20), (80, 90), (50, 60))):
        there = (
            torch.nonzero(working[1, index, 1] == working[1, index, 1].max()).float().mean(dim=0)
        )
        from_middle = (torch.tensor([row + 6.0, column + 6.0]) - 63.5) * 2 / 7
        assert (there - 31.5 - from_middle).abs().max() < 1
    assert marks.seen[0].shape == (3, tiny_recipe.working.channels, 64, 64)


def test_a_slice_is_marked_alike_whatever_lies_beside_it(tiny_recipe):
    graph = EnsembleGraph([Above(0.3, tumour=False), Above(0.8, tumour=True)], boxed(tiny_recipe))
    hu, spacing = livers((10, 20), (80, 90)).half(), torch.tensor([2.0, 2.0])
    together, _ = graph(hu, spacing)
    alone = [graph(hu[index : index + 1], spacing)[0] for index in (0, 1)]
    assert torch.equal(together, torch.cat(alone))


def test_slices_on_the_working_grid_are_marked_as_in_use(tiny_recipe):
    recipe = boxed(tiny_recipe, spacing_mm=5.0, size=64)
    first, second = recipe.members
    second = second.model_copy(update={"weights": (1, 3)})
    fusion = tiny_recipe.fusion.model_copy(update={"kind": "weighted"})
    recipe = recipe.model_copy(update={"members": (first, second), "fusion": fusion})
    torch.manual_seed(1)
    graph = EnsembleGraph([make_member(recipe, each) for each in recipe.members], recipe).eval()
    hu = torch.rand(2, 64, 64) * 160
    with torch.inference_mode():
        found = graph.probabilities_on_grid(hu)
        native, _ = graph.marks(hu, torch.tensor([7.0, 7.0]))
    liver, tumour = native.unbind(dim=2)
    expected = torch.stack([liver.mean(dim=0), tumour[0] / 4 + tumour[1] * 3 / 4], dim=1)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("part", "marks"), [(0.5, True), (2.0, False)])
def test_without_a_liver_a_member_with_a_box_marks_nothing(tiny_recipe, part, marks):
    finds = Above(part, tumour=False)  # nothing is twice as bright as the window
    graph = EnsembleGraph([finds, Above(0.8, tumour=True)], boxed(tiny_recipe))
    hu = torch.zeros((1, 128, 128))
    hu[0, 60:70, 60:70] = 150
    for found in graph.marks(hu.half(), torch.tensor([2.0, 2.0])):
        assert bool((found[1] > 0.1).any()) is marks


@pytest.fixture(scope="module")
def model(few_levels, tiny_recipe, tmp_path_factory) -> Model:
    """A model folder with a box, whose export asked ONNX Runtime, OpenVINO and the program."""
    torch.manual_seed(3)
    recipe = boxed(tiny_recipe, spacing_mm=3.0)
    members = [make_member(recipe, each).eval() for each in recipe.members]
    words = Description(
        recipe=recipe.model_dump(mode="json"), data=(), evaluation={}, card="", licence=""
    )
    folder = tmp_path_factory.mktemp("models") / "boxed"
    export_model(members, recipe.model_copy(update={"program": True}), words, folder)
    return load_model(folder)


def test_a_model_folder_with_a_box_answers_as_its_members_do(model):
    hu, spacing = livers((10, 20), (80, 90)).half(), (2.0, 1.5)
    answer = open_device(model).run(hu.numpy(), spacing)
    with torch.inference_mode():
        labels, agreement = open_graph(model)(hu, torch.tensor(spacing))
    assert (answer.labels != labels.numpy()).mean() < 0.001
    torch.testing.assert_close(torch.from_numpy(answer.agreement), agreement, atol=5, rtol=0)


def test_a_graph_with_a_box_is_cut_around_both_of_its_stages(model, monkeypatch):
    compiled, compile_model = [], openvino.Core.compile_model

    def noted(self, graph, *rest):
        compiled.append(graph.get_friendly_name())
        return compile_model(self, graph, *rest)

    monkeypatch.setattr(OpenVino, "_require_half", lambda self: None)
    monkeypatch.setattr(OpenVino, "_hint", lambda self: {})
    hu = livers((10, 20), (80, 90), (50, 60)).half().numpy()
    whole = open_openvino(model).run(hu, (2.0, 1.5))
    monkeypatch.setattr("openvino.Core.compile_model", noted)
    parts = open_openvino(model, half=True).run(hu, (2.0, 1.5))
    assert sorted(compiled) == ["around 0", "around 1", "around 2", "members 0", "members 1"]
    np.testing.assert_array_equal(parts.labels, whole.labels)
    np.testing.assert_array_equal(parts.agreement, whole.agreement)


def test_a_member_learns_by_its_own_grid_batch_and_loss(tiny_recipe):
    recipe = load_recipe(
        "base",
        [
            'members=[{network="fpn", cycles=[2], seed=1}, {network="unet", cycles=[2], seed=2, '
            'box={spacing_mm=1.25, size=192}, batch={tumour=3, small=1}, loss=[{kind="dice"}]}]'
        ],
    )
    first, second = (of_member(recipe, member) for member in recipe.members)
    assert first == recipe
    assert (second.crop, second.working.size, second.working.spacing_mm) == (192, 192, 1.25)
    assert second.working.windows == recipe.working.windows
    assert second.batch.size == 4
    assert [term.kind for term in second.loss] == ["dice"]


def test_a_member_with_a_box_has_no_teacher():
    recipe = load_recipe(
        "fast",
        [
            "batch.unlabelled=2",
            "members=[{network='fpn', cycles=[2], seed=1}, {network='fpn', cycles=[2], seed=2, "
            "box={spacing_mm=1.25, size=192}}]",
        ],
    )
    first, second = (of_member(recipe, member) for member in recipe.members)
    assert (first.distil, first.batch.unlabelled) == (recipe.distil, 2)
    assert (second.distil, second.batch.unlabelled) == (None, 0)


def test_members_have_weights_of_their_own_in_a_weighted_mean():
    assert load_recipe("base").fused.weights == ((1 / 3, 1 / 4), (1 / 3, 1 / 4), (1 / 3, 1 / 2))
    one = load_recipe("base", ["members=[{network='fpn', cycles=[2], seed=1}]"])
    assert one.fused.weights == ((1, 1),)
    for wrong, said in (
        ("[0, 1]", "for the liver are all 0"),
        ("[1, -1]", "greater than or equal"),
    ):
        member = f"members=[{{network='fpn', cycles=[2], seed=1, weights={wrong}}}]"
        with pytest.raises(BadRecipe, match=said):
            load_recipe("base", [member])
    learnt = load_recipe("base", ["fusion.weights=[[0.2, 0.2], [0.2, 0.2], [0.6, 0.6]]"])
    assert learnt.fused.weights[2] == (0.6, 0.6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["members=[BOXED, WHOLE]"], "name one before it"),
        (["working.neighbours=1", "members=[WHOLE, BOXED]"], r"set working\.neighbours to 0"),
    ],
)
def test_a_box_that_cannot_be_laid_is_refused(changes, said):
    whole = "network='fpn', cycles=[2], seed=1"
    boxed = f"{{{whole}, box={{spacing_mm=1, size=64}}}}"
    named = [each.replace("BOXED", boxed).replace("WHOLE", f"{{{whole}}}") for each in changes]
    with pytest.raises(BadRecipe, match=said):
        load_recipe("base", named)


def test_a_liver_that_one_of_the_members_finds_has_a_box(tiny_recipe):
    first = tiny_recipe.members[0]
    boxed_one = first.model_copy(update={"box": LiverBox(spacing_mm=1.0, size=64)})
    recipe = tiny_recipe.model_copy(update={"members": (first, first, boxed_one)})
    blind, finds = Above(2.0, tumour=False), Above(0.3, tumour=False)
    graph = EnsembleGraph([blind, finds, Above(0.8, tumour=True)], recipe).eval()
    hu = livers((10, 20))
    native, _ = graph.marks(hu.half(), torch.tensor([2.0, 2.0]))
    assert torch.equal(native[2, :, 1] > 0.5, hu > 130)
