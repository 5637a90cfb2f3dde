"""The members' weights that a model folder holds, as the torch graph wants them."""

from collections.abc import Mapping
from itertools import pairwise

import onnx
import torch
from torch import Tensor, nn

from engine.model import PROGRAM, Model
from trainer.errors import BadModel

Weights = Mapping[str, Tensor]
"""Name in the graph's state to its value."""

COUNTER = "num_batches_tracked"
"""What a batch norm keeps besides, and needs in training only."""


def load_weights(graph: nn.Module, model: Model) -> None:
    """Fill a graph's members with a model folder's weights: its program's, or its ONNX graph's.

    Raises:
        BadModel: a weight of the graph is not in the folder.
    """
    program = model.folder / PROGRAM
    if PROGRAM in model.manifest.files:
        weights: Weights = torch.export.load(program).state_dict
    else:
        weights = _unfold(graph, _initialisers(model))
    missing, _ = graph.load_state_dict(dict(weights), strict=False)
    lost = [name for name in missing if name.startswith("members.") and not name.endswith(COUNTER)]
    if lost:
        raise BadModel(
            f"{model.folder} holds no weights for {lost[0]} and {len(lost) - 1} more: "
            f"name a folder of {model.name} in float32, with {PROGRAM} where there is one"
        )


def _initialisers(model: Model) -> dict[str, Tensor]:
    """Return the constants of the ONNX graph; the exporter keeps the parameters' names."""
    graph = onnx.load(model.graph).graph
    return {
        each.name: torch.from_numpy(onnx.numpy_helper.to_array(each).copy())
        for each in graph.initializer
        if each.data_type == onnx.TensorProto.FLOAT
    }


def _unfold(graph: nn.Module, kept: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give batch norms that were folded into the convolution before them back as mere biases.

    The exporter multiplies the norm's scale into the convolution's weight and calls what is left
    to add `weight_bias`. So the norm has nothing to scale, and adds that.
    """
    weights = dict(kept)
    for path, part in graph.named_modules():
        if not isinstance(part, nn.Sequential):
            continue
        for (before, _), (after, norm) in pairwise(part.named_children()):
            bias = kept.get(f"{path}.{before}.weight_bias")
            if isinstance(norm, nn.BatchNorm2d) and bias is not None:
                weights |= _adding(bias, norm.eps, f"{path}.{after}")
    return weights


def _adding(bias: Tensor, eps: float, norm: str) -> dict[str, Tensor]:
    """Return the state of a batch norm that adds `bias` and does nothing else."""
    return {
        f"{norm}.weight": torch.ones_like(bias),
        f"{norm}.bias": bias,
        f"{norm}.running_mean": torch.zeros_like(bias),
        f"{norm}.running_var": torch.ones_like(bias) - eps,
    }
