import json
import shutil
import zipfile

import numpy as np
import pytest
import torch

from engine.acceptance.reference import read_reference
from engine.model import PROGRAM, default_model_folder, load_model
from tests.engine.toy_model import write_manifest
from trainer.ensemble.graph import open_graph
from trainer.errors import BadModel


@pytest.fixture(scope="module")
def model():
    return load_model(default_model_folder())


def test_the_default_model_comes_back_from_its_onnx_graph(model):
    hu, spacing_mm, expected = read_reference(model)
    with torch.inference_mode():
        labels, agreement = open_graph(model)(torch.from_numpy(hu[:1]), torch.tensor(spacing_mm))
    assert np.mean(labels.numpy() != expected.labels[:1]) < 1e-4
    np.testing.assert_allclose(agreement.numpy(), expected.agreement[:1], atol=3)


def test_weights_that_are_not_there_are_named(model, monkeypatch):
    monkeypatch.setattr("trainer.ensemble.weights._initialisers", lambda _: {})
    with pytest.raises(BadModel, match=r"members\.0\.downs"):
        open_graph(model)


def test_a_program_that_would_be_unpickled_is_refused(model, tmp_path):
    folder = shutil.copytree(model.folder, tmp_path / "model")
    with zipfile.ZipFile(folder / PROGRAM, "w") as program:
        tensors = {"config": {"members.0.weight": {"use_pickle": True}}}
        program.writestr("toy/data/weights/model_weights_config.json", json.dumps(tensors))
    write_manifest(folder, recipe=model.manifest.recipe)
    with pytest.raises(BadModel, match="holds pickles"):
        open_graph(load_model(folder))
