import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from engine.phantom import make_phantom
from engine.volume import Label
from trainer.commands import register
from trainer.datasets.cases.case import Case
from trainer.ensemble.graph import EnsembleGraph
from trainer.ensemble.members import make_member
from trainer.errors import BadData
from trainer.evaluation.metrics.exam import Structure
from trainer.explain.explain_command import chosen_subjects
from trainer.explain.grad_cam import grad_cams
from trainer.explain.insight import ENSEMBLE, look
from trainer.explain.views import of_case, telling
from trainer.recipe.recipe import LiverBox


@pytest.fixture(scope="module")
def graph(tiny_recipe):
    torch.manual_seed(0)
    recipe = tiny_recipe.model_copy(update={"members": tiny_recipe.members[:2]})
    members = [make_member(recipe, each) for each in recipe.members]
    return EnsembleGraph(members, recipe).eval()


@pytest.fixture(scope="module")
def case():
    phantom = make_phantom(3, shape=(8, 72, 80), spacing_mm=(25.0, 5.0, 4.5))
    return Case("phantom3", "phantoms", "3", phantom.volume, phantom.truth.labels)


@pytest.fixture(scope="module")
def insight(graph, case):
    return look(graph, next(of_case(case)))


def test_every_map_lies_on_the_slice_and_goes_from_0_to_1(insight):
    maps = [each for levels in insight.activations.values() for each in levels.values()]
    for opinions in insight.opinions.values():
        assert list(opinions) == ["unet", "linknet", ENSEMBLE]
        for opinion in opinions.values():
            maps += [opinion.probability, opinion.deep, opinion.fine]
    for each in maps:
        assert each.shape == (72, 80)
        assert each.min() >= 0
        assert each.max() <= 1


def test_the_ensemble_marks_what_its_graph_marks(graph, insight):
    hu, spacing = torch.from_numpy(insight.view.hu)[None], torch.tensor(insight.view.spacing_mm)
    with torch.inference_mode():
        labels = graph(hu, spacing)[0][0].numpy()
    for structure, label in ((Structure.LIVER, Label.LIVER), (Structure.TUMOUR, Label.TUMOUR)):
        marked = insight.opinions[structure][ENSEMBLE].marked
        np.testing.assert_array_equal(marked, labels >= label)


def test_a_slice_is_looked_at_with_its_neighbours_where_the_model_sees_them(tiny_recipe, case):
    torch.manual_seed(0)
    working = tiny_recipe.working.model_copy(update={"neighbours": 1})
    update = {"members": tiny_recipe.members[:1], "working": working}
    recipe = tiny_recipe.model_copy(update=update)
    deep = EnsembleGraph([make_member(recipe, recipe.members[0])], recipe).eval()
    view = next(of_case(case, [3], neighbours=1))
    probability = look(deep, view).opinions[Structure.LIVER]["unet"].probability
    hu = torch.from_numpy(case.volume.hu[2:5]).half()
    with torch.inference_mode():
        native, _ = deep.marks(hu, torch.tensor(view.spacing_mm))
    np.testing.assert_allclose(probability, native[0, 1, 0].numpy(), atol=1e-5)


def test_a_member_with_a_box_is_looked_into_by_what_it_sees(tiny_recipe, case):
    torch.manual_seed(0)
    first = tiny_recipe.members[0]
    boxed = first.model_copy(update={"box": LiverBox(spacing_mm=3.0, size=64)})
    recipe = tiny_recipe.model_copy(update={"members": (first, boxed)})
    members = [make_member(recipe, each) for each in recipe.members]
    graph, view = EnsembleGraph(members, recipe).eval(), next(of_case(case))
    found = look(graph, view)
    assert found.names == ("unet", "unet-box")
    with torch.no_grad():
        _, own = graph.views(torch.from_numpy(view.hu)[None], torch.tensor(view.spacing_mm))
    for structure in Structure:
        cams = grad_cams(graph.members[1], own.seen, structure)
        expected = own.on_slices.up(cams.fine[None, None].float())[0, 0].clamp(0, 1)
        fine = found.opinions[structure]["unet-box"].fine
        np.testing.assert_allclose(fine, expected.numpy(), atol=1e-5)


def test_the_ensembles_heat_is_the_mean_of_its_members(insight):
    opinions = insight.opinions[Structure.LIVER]
    mean = np.mean([opinions[name].probability for name in insight.names], axis=0)
    np.testing.assert_allclose(opinions[ENSEMBLE].probability, mean, atol=1e-6)


@pytest.mark.parametrize("index", [0, 1])
def test_a_members_maps_are_its_own_whoever_stands_beside_it(
    graph, case, insight, index, tiny_recipe
):
    recipe = tiny_recipe.model_copy(update={"members": tiny_recipe.members[index : index + 1]})
    alone = look(EnsembleGraph([graph.members[index]], recipe).eval(), next(of_case(case)))
    (name,) = alone.names
    assert insight.names[index] == name
    for structure in Structure:
        one, other = (each.opinions[structure][name] for each in (alone, insight))
        for what in ("probability", "marked", "deep", "fine"):
            np.testing.assert_allclose(getattr(one, what), getattr(other, what), atol=1e-5)
    for rows, shown in alone.activations[name].items():
        np.testing.assert_allclose(shown, insight.activations[name][rows], atol=1e-5)


def test_the_votes_say_how_far_the_members_agree(insight):
    votes = insight.votes(Structure.LIVER)
    marked = [insight.opinions[Structure.LIVER][name].marked for name in insight.names]
    assert insight.iou(Structure.LIVER, "unet", "unet") in (1, pytest.approx(np.nan, nan_ok=True))
    every, any_ = np.all(marked, axis=0).sum(), np.any(marked, axis=0).sum()
    assert ((votes == 2).sum(), (votes > 0).sum()) == (every, any_)


def test_the_slices_with_most_tumour_and_most_liver_tell_most():
    marks = np.zeros((4, 5, 5), np.uint8)
    marks[1], marks[2, :3], marks[2, 0, 0] = 1, 1, 2
    assert telling(marks) == [2, 1]
    with pytest.raises(BadData, match="--slice"):
        telling(marks * 0)


def test_the_command_writes_a_page_that_needs_nothing_beside_itself(
    graph, insight, toy, data_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("trainer.explain.explain_command.open_graph", lambda model: graph)
    monkeypatch.setattr(
        "trainer.explain.explain_command.look",
        lambda graph, view: replace(insight, view=named(view)),
    )

    def named(view):
        """What is seen stays the same, whatever the slice."""
        return replace(insight.view, title=view.title)

    app = typer.Typer()
    register(app)
    arguments = ["explain", str(toy), "--data", str(data_folder), "--patient", "lits3"]
    arguments += ["--slice", "2", "--output", str(tmp_path / "inside")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "inside" / "explanation.html").read_text()
    assert "lits3, slice 2" in page
    for what in ("Heat map", "Grad-CAM", "IoU map", "Activation map"):
        assert f"<b>{what}</b>" in page
    assert set(re.findall(r'src="([^"]{23})', page)) == {"data:image/jpeg;base64,"}
    assert "http" not in page


def test_whoever_is_named_is_looked_at_and_a_stranger_is_told_whom_there_are(data_folder):
    (lits2,) = chosen_subjects(data_folder, frozenset({"lits2"}), frozenset({"lits3"}))
    assert lits2.patient == "lits2"
    with pytest.raises(BadData, match=r"has a given name; its patients: lits0, lits2"):
        chosen_subjects(data_folder, frozenset({"anna"}), frozenset({"lits3"}))


@pytest.mark.parametrize(
    ("unseen", "looked_at"), [({"lits3"}, {"lits3"}), ({"another group's"}, {"lits0", "lits2"})]
)
def test_unseen_patients_are_looked_at_first_and_any_where_the_model_comes_from_elsewhere(
    unseen, looked_at, data_folder
):
    found = chosen_subjects(data_folder, frozenset(), frozenset(unseen))
    assert {each.patient for each in found} == looked_at


def test_a_slice_that_is_not_there_is_named(graph, case):
    with pytest.raises(BadData, match="no slice 8"):
        next(of_case(case, [8]))
