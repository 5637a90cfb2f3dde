import numpy as np
import onnx
import pytest

from engine.devices import quantized
from engine.devices.openvino_cpu import OpenVino, settings
from engine.devices.quantized import quantized_graph
from engine.model import load_model
from tests.engine.plans.convolution_model import write_convolution_model

pytest.importorskip("onnxruntime.quantization", reason="int8 comes with the extra `int8`")


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setattr(quantized, "KEPT_AT_END", 1)
    return load_model(write_convolution_model(tmp_path / "small"))


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_convolutions_between_the_first_and_the_last_become_integers(small, symmetric):
    graph = onnx.load_from_string(quantized_graph(small, symmetric=symmetric)).graph
    makers = {output: node for node in graph.node for output in node.output}
    fed = [makers.get(node.input[1]) for node in graph.node if node.op_type == "Conv"]
    assert [each is not None and each.op_type == "DequantizeLinear" for each in fed] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("symmetric", "kind"), [(True, onnx.TensorProto.INT8), (False, onnx.TensorProto.UINT8)]
)
def test_symmetric_activations_have_their_zero_in_the_middle(small, symmetric, kind):
    graph = onnx.load_from_string(quantized_graph(small, symmetric=symmetric)).graph
    kept = {each.name: each for each in graph.initializer}
    zeros = [kept[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert {zero.data_type for zero in zeros} == {kind}
    if symmetric:
        assert not any(onnx.numpy_helper.to_array(zero).any() for zero in zeros)


def test_a_quantised_graph_answers_any_slices(small, tmp_path):
    (tmp_path / "int8.onnx").write_bytes(quantized_graph(small, symmetric=False))
    device = OpenVino(tmp_path / "int8.onnx", settings(1, None))
    assert device.run(np.zeros((3, 40, 50), np.float16), (1.0, 1.0)).labels.shape == (3, 40, 50)
