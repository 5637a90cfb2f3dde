import math
from dataclasses import replace

import onnx
import pytest
import torch

from engine.acceptance.reference import check_reference
from engine.devices.onnxruntime_cpu import open_onnxruntime
from engine.devices.openvino_cpu import open_openvino
from engine.model import load_model
from trainer.ensemble.members import make_member
from trainer.errors import BadData, ParityError
from trainer.export import variants
from trainer.export.model_folder import Description, export_model
from trainer.export.variants import export_variant

pytestmark = pytest.mark.usefixtures("few_levels")


@pytest.fixture(scope="module")
def model(tiny_recipe, tmp_path_factory):
    torch.manual_seed(0)
    recipe = tiny_recipe.model_copy(update={"members": tiny_recipe.members[1:2], "program": False})
    members = [make_member(recipe, each).eval() for each in recipe.members]
    folder = tmp_path_factory.mktemp("variants") / "model"
    card = "# Model card\n\n## What it is not for\n"
    words = Description(
        recipe=recipe.model_dump(mode="json"), data=(), evaluation={}, card=card, licence="free"
    )
    export_model(members, recipe, words, folder)
    return folder


@pytest.fixture(autouse=True)
def _few_judges_and_no_refusal(monkeypatch):
    monkeypatch.setattr(variants, "PHANTOMS", 1)
    monkeypatch.setattr(variants, "CALIBRATION", 3)
    monkeypatch.setattr(variants, "LEAST_DICE", {"float16": 0.0, "int8": 0.0})


@pytest.mark.parametrize(
    ("precision", "kind"),
    [("float16", onnx.TensorProto.FLOAT16), ("int8", onnx.TensorProto.INT8)],
)
def test_a_variant_runs_everywhere_and_states_what_it_lost(model, tmp_path, precision, kind):
    export_variant(model, tmp_path / "variant", precision, None)
    variant = load_model(tmp_path / "variant")
    assert variant.manifest.graph.precision == precision
    weights = [w for w in onnx.load(variant.graph).graph.initializer if math.prod(w.dims) > 999]
    assert kind in {w.data_type for w in weights}
    graph = onnx.load(variant.graph).graph
    dequantised = {node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    # TensorRT's parser refuses biases that are int32 behind a DequantizeLinear.
    whole = {w.name for w in graph.initializer if w.data_type == onnx.TensorProto.INT32}
    assert not dequantised & whole
    for open_ in (open_onnxruntime, open_openvino):
        check_reference(variant, open_(variant))
    stated = variant.manifest.evaluation["precision"]
    assert set(stated) == {"float32", precision, "loss"}
    assert "## Precision" in (variant.folder / "MODEL_CARD.md").read_text()
    assert variant.graph.stat().st_size < 0.7 * (model / "ensemble.onnx").stat().st_size


def test_a_variant_that_strays_is_refused(model, tmp_path, monkeypatch):
    def copied(graph, reference, precision, examples, path):
        path.write_bytes((model / "ensemble.onnx").read_bytes())

    monkeypatch.setattr(variants, "write_graph", copied)
    monkeypatch.setattr(variants, "LEAST_DICE", {"float16": 1.1})
    with pytest.raises(ParityError, match="nothing was written"):
        export_variant(model, tmp_path / "variant", "float16", None)
    assert list(tmp_path.iterdir()) == []


def test_data_without_anyone_held_out_cannot_judge_a_variant(
    model, data_folder, tmp_path, monkeypatch
):
    stranger = load_model(model)
    said = stranger.manifest.model_copy(update={"evaluation": {"held_out_patients": ["anna"]}})
    monkeypatch.setattr(variants, "load_model", lambda folder: replace(stranger, manifest=said))
    with pytest.raises(BadData, match="0 patients held out"):
        export_variant(model, tmp_path / "variant", "float16", data_folder)
    assert list(tmp_path.iterdir()) == []
