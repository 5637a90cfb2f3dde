"""The members' weights that a model folder holds, named as in the torch graph."""

import onnx
import torch
from torch import Tensor, nn

from engine.devices.torch_program import read_program
from engine.errors import DeviceFailed
from engine.model import PROGRAM, Model
from trainer.ensemble.batchnorm_folding import unfold
from trainer.errors import BadModel

COUNTER = "num_batches_tracked"
"""Buffers of a batch norm that only training needs."""


def load_weights(graph: nn.Module, model: Model) -> None:
    """Fill a graph's members with a model folder's weights: its program's, or its ONNX graph's.

    Raises:
        BadModel: a weight of the graph is not in the folder, or reading it could run code.
    """
    program = model.folder / PROGRAM
    if PROGRAM in model.manifest.files:
        try:
            weights = read_program(program).state_dict
        except DeviceFailed as error:
            raise BadModel(str(error)) from error
    else:
        weights = _initialisers(model)
    # Not strict: the ONNX file has more constants than weights, and no counters.
    missing, _ = graph.load_state_dict(unfold(graph, weights), strict=False)
    lost = [name for name in missing if name.startswith("members.") and not name.endswith(COUNTER)]
    if lost:
        raise BadModel(
            f"{model.folder} holds no weights for {lost[0]} and {len(lost) - 1} more: "
            f"name a folder of {model.name} in float32, with {PROGRAM} where there is one"
        )


def _initialisers(model: Model) -> dict[str, Tensor]:
    """Return the constants of the ONNX graph; the exporter keeps the parameters' names.

    Of constants that are equal it keeps one, and none of a bias that is 0; so a convolution's bias
    is found by its weight.
    """
    graph = onnx.load(model.graph).graph
    weights = {
        # A copy: the array is a read-only view of the file's bytes.
        each.name: torch.from_numpy(onnx.numpy_helper.to_array(each).copy())
        for each in graph.initializer
        if each.data_type == onnx.TensorProto.FLOAT
    }
    for node in graph.node:
        if node.op_type in {"Conv", "ConvTranspose"} and node.input[1] in weights:
            weight = weights[node.input[1]]
            # ONNX has (outputs, inputs, …) for Conv and (inputs, outputs, …) for ConvTranspose.
            outputs = weight.shape[0 if node.op_type == "Conv" else 1]
            bias = weights[node.input[2]] if len(node.input) > 2 else torch.zeros(outputs)
            weights[f"{node.input[1].removesuffix('.weight')}.bias"] = bias
    return weights
