"""A model of the shape that trainers write, small enough to build plans of in seconds.

Written with onnx: exporting with torch takes a minute. Slices are windowed, one member of two
convolutions with a skip marks each pixel, and the graph counts as the contract says.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from engine.devices.openvino_cpu import open_openvino
from engine.model import load_model
from tests.engine.toy_model import write_manifest

SPACING = 0.8, 0.7


def write_convolution_model(folder, seed=0, *, labelled=False):
    """Write the model; `labelled`, its reference is what it answers, otherwise nothing at all."""
    folder.mkdir(parents=True)
    onnx.save(convolution_graph(seed), folder / "ensemble.onnx")
    hu = np.zeros((3, 64, 64), np.float16)
    hu[:, ::2] = 100
    write_reference(folder, hu, np.zeros(hu.shape, np.uint8), np.zeros((3, 2, 2), np.float32))
    write_manifest(folder, name="small")
    if labelled:
        answer = open_openvino(load_model(folder), threads=1).run(hu, SPACING)
        write_reference(folder, hu, answer.labels, answer.agreement)
        write_manifest(folder)
    return folder


def write_reference(folder, hu, labels, agreement):
    spacing = np.array(SPACING, np.float32)
    np.savez(folder / "reference.npz", hu=hu, spacing=spacing, labels=labels, agreement=agreement)


def convolution_graph(seed):
    random = np.random.default_rng(seed)
    numbers = {
        "width": np.float32(200),
        "half": np.float32(0.5),
        "axes": np.array([2, 3]),
        "one": np.array([1]),
        "last": np.array([2]),
        "w1": random.standard_normal((64, 1, 3, 3)).astype(np.float32),
        "b1": random.standard_normal(64).astype(np.float32),
        "w2": random.standard_normal((64, 64, 3, 3)).astype(np.float32),
        "w3": random.standard_normal((2, 64, 1, 1)).astype(np.float32),
    }

    def node(kind, inputs, outputs, **said):
        return helper.make_node(kind, inputs, outputs, name=f"make_{outputs[0]}", **said)

    nodes = [
        node("Cast", ["hu"], ["x"], to=TensorProto.FLOAT),
        node("Div", ["x", "width"], ["seen"]),
        node("Unsqueeze", ["seen", "one"], ["image"]),
        node("Conv", ["image", "w1", "b1"], ["c1"], pads=[1] * 4),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], pads=[1] * 4),
        node("Add", ["c2", "r1"], ["skip"]),
        node("Conv", ["skip", "w3"], ["scores"]),
        node("Sigmoid", ["scores"], ["p"]),
        node("Greater", ["p", "half"], ["marked"]),
        node("Cast", ["marked"], ["counted"], to=TensorProto.FLOAT),
        node("ReduceSum", ["counted", "axes"], ["count"], keepdims=0),
        node("Unsqueeze", ["count", "last"], ["every"]),
        node("Concat", ["every", "every"], ["pairs"], axis=2),
        node("ReduceMax", ["spacing"], ["mm"], keepdims=0),
        node("Mul", ["pairs", "mm"], ["agreement"]),
        node("ReduceSum", ["counted", "one"], ["sum"], keepdims=0),
        node("Cast", ["sum"], ["labels"], to=TensorProto.UINT8),
    ]
    slices = ["n", "rows", "columns"]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "small",
        [info("hu", TensorProto.FLOAT16, slices), info("spacing", TensorProto.FLOAT, [2])],
        [
            info("labels", TensorProto.UINT8, slices),
            info("agreement", TensorProto.FLOAT, ["n", 2, 2]),
        ],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in numbers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
