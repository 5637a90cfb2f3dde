from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from engine.acceptance.reference import read_reference
from engine.model import default_model_folder, load_model
from engine.serving.cpu import open_device
from engine.volume import Label
from trainer.ensemble.graph import EnsembleGraph, open_graph
from trainer.ensemble.members import make_member
from trainer.errors import ParityError
from trainer.evaluation.run.compare_fusions import compare_fusions
from trainer.export.model_folder import Description, export_model, whole_or_not_at_all
from trainer.export.reference import SEEDS, Reference, answer
from trainer.training.ensemble import read_cases

WORDS = Description(recipe={}, data=(), evaluation={}, card="card", licence="licence")


@pytest.fixture(scope="module")
def recipe(tiny_recipe):
    """One small member is enough to see whether a graph travels."""
    return tiny_recipe.model_copy(update={"members": tiny_recipe.members[:1]})


@pytest.fixture(scope="module")
def members(recipe):
    torch.manual_seed(0)
    return [make_member(recipe, each).eval() for each in recipe.members]


@pytest.fixture(scope="module")
def model(members, recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "model"
    words = Description(
        recipe=recipe.model_dump(mode="json"), data=(), evaluation={}, card="", licence=""
    )
    export_model(members, recipe.model_copy(update={"program": True}), words, folder)
    return load_model(folder)


def test_a_model_folder_answers_in_the_engine_as_its_members_do(members, recipe, model):
    hu = np.random.default_rng(1).integers(-200, 300, (3, 80, 100)).astype(np.float16)
    answer = open_device(model).run(hu, (2.0, 1.5))
    with torch.inference_mode():
        graph = EnsembleGraph(members, recipe)
        labels, agreement = graph(torch.from_numpy(hu), torch.tensor([2.0, 1.5]))
    assert np.mean(answer.labels != labels.numpy()) < 0.001
    np.testing.assert_allclose(answer.agreement, agreement.numpy(), atol=5)


@pytest.mark.parametrize("files", [{"ensemble.pt2", "ensemble.onnx"}, {"ensemble.onnx"}])
def test_a_model_folder_gives_the_members_back(members, recipe, model, files):
    kept = {name: digest for name, digest in model.manifest.files.items() if name in files}
    manifest = model.manifest.model_copy(update={"files": kept})
    seen = torch.rand(2, recipe.working.channels, 64, 64)
    with torch.inference_mode():
        found = open_graph(replace(model, manifest=manifest)).members[0](seen)
        torch.testing.assert_close(found, members[0](seen), atol=1e-4, rtol=1e-4)


def test_a_graph_does_not_tell_where_it_was_made(model):
    assert b"graph.py" not in (model.folder / "ensemble.onnx").read_bytes()


def test_no_8_bit_integers_live_inside_a_graph(model):
    graph = onnx.shape_inference.infer_shapes(onnx.load(model.graph)).graph
    kinds = {each.type.tensor_type.elem_type for each in graph.value_info}
    assert onnx.TensorProto.UINT8 not in kinds


def test_a_graph_that_answers_otherwise_is_not_written(members, recipe, tmp_path, monkeypatch):
    def another(graph):
        reference = answer(graph)
        labels = 1 - (reference.labels > 0).astype(np.uint8)
        return Reference(reference.hu, reference.spacing, labels, reference.agreement)

    monkeypatch.setattr("trainer.export.model_folder.answer", another)
    with pytest.raises(ParityError, match="nothing was written"):
        export_model(members, recipe, WORDS, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_answers_otherwise_is_not_written(members, recipe, tmp_path, monkeypatch):
    class Otherwise:
        def module(self):
            return lambda hu, spacing: (hu, torch.zeros(len(hu), 2, 2))

    monkeypatch.setattr("trainer.export.model_folder.to_program", lambda graph, reference: None)
    monkeypatch.setattr("torch.export.save", lambda program, path: None)
    monkeypatch.setattr("torch.export.load", lambda path: Otherwise())
    with pytest.raises(ParityError, match=r"ensemble\.pt2 answers otherwise"):
        export_model(
            members, recipe.model_copy(update={"program": True}), WORDS, tmp_path / "model"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_large_field_of_view_is_seen_whole(members, recipe):
    graph = EnsembleGraph(members, recipe)
    hu = torch.zeros((1, 64, 64)).half()
    native, working = graph.marks(hu, torch.tensor([9.0, 9.0]))
    assert native.shape == (1, 1, 2, 64, 64)
    torch.testing.assert_close(native, working, atol=1e-4, rtol=1e-3)


def test_outside_of_a_small_slice_there_is_air(recipe):
    wide = recipe.working.model_copy(update={"clip_hu": (-200, 200), "windows": ((-200, 200),)})
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, x):
            seen.append(x)
            return torch.zeros(len(x), 3, *x.shape[2:])

    EnsembleGraph([Spy()], recipe.model_copy(update={"working": wide})).marks(
        torch.zeros((1, 8, 8)).half(), torch.tensor([7.0, 7.0])
    )
    assert seen[0][0, 0, 0, 0] == 0
    assert seen[0][0, 0, 32, 32] == 0.5


def test_every_fusion_is_measured_on_the_held_out_patients(tiny_recipe, data_folder):
    members = [make_member(tiny_recipe, each).eval() for each in tiny_recipe.members]
    cases = read_cases(tiny_recipe, data_folder)
    figures = compare_fusions(EnsembleGraph(members, tiny_recipe), cases.held_out, 1.5)
    assert list(figures) == ["unet", "linknet", "fpn", "blumberg", "mean", "majority", "weighted"]
    assert set(figures["mean"].liver) == set(cases.split.held_out)


class Thresholds(torch.nn.Module):
    """Marks what is as dark as a phantom's tumour."""

    def forward(self, hu, spacing):
        return 2 * ((hu > 40) & (hu < 80)).to(torch.uint8), torch.zeros(len(hu), 2, 2)


def test_the_reference_is_the_phantom_in_which_the_model_marks_most_tumour(monkeypatch):
    most = answer(Thresholds())
    marked = []
    for seed in SEEDS:
        monkeypatch.setattr("trainer.export.reference.SEEDS", (seed,))
        marked.append(answer(Thresholds()).tumour_pixels)
    assert most.tumour_pixels == max(marked) > min(marked)


def test_a_pixel_of_tumour_decides_nothing_about_the_default_model():
    model = load_model(default_model_folder())
    _, _, expected = read_reference(model)
    tumour = np.count_nonzero(expected.labels == Label.TUMOUR)
    assert 5 / tumour < 1 - model.manifest.tolerances.dice


def test_a_model_that_is_there_stays_until_the_new_one_is_whole(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()

    def export(fails: bool) -> None:
        with whole_or_not_at_all(folder) as part:
            assert (folder / "old").is_file()
            (part / "new").touch()
            if fails:
                raise ParityError("it strays")

    with pytest.raises(ParityError):
        export(fails=True)
    assert [path.name for path in folder.iterdir()] == ["old"]
    export(fails=False)
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]
