import numpy as np
import pytest
import torch

from engine.acceptance.reference import read_reference
from engine.model import default_model_folder, load_model
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
