"""Half precision where it pays: in the members, between their first and last convolution.

Resampling, soft-max, fusion and counting stay in float32: sums over a slice would overflow half
precision, and near-ties decide labels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_half(trt: Any, network: Any) -> list[NDArray[np.float16]]:
    """Let every convolution of a strongly typed network, and what lies between, use half precision.

    Returns:
        The weights; the network points to them, so they must live until it was built.
    """
    half: set[str] = set()
    kept: list[NDArray[np.float16]] = []
    casts: dict[tuple[str, Any], Any] = {}

    def cast(layer: Any, index: int, kind: Any) -> None:
        tensor = layer.get_input(index)
        if (tensor.name, kind) not in casts:
            casts[tensor.name, kind] = network.add_cast(tensor, kind).get_output(0)
        layer.set_input(index, casts[tensor.name, kind])

    for layer in [network.get_layer(i) for i in range(network.num_layers)]:
        names = {i: layer.get_input(i).name for i in range(layer.num_inputs) if layer.get_input(i)}
        halves = [i for i, name in names.items() if name in half]
        if layer.type in (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION):
            for i in set(names) - set(halves):
                cast(layer, i, trt.float16)
            kept += _shrink(trt, layer)
            half.add(layer.get_output(0).name)
        elif _may_stay(trt, layer) and len(halves) == len(names) > 0:
            half.add(layer.get_output(0).name)
        elif layer.type != trt.LayerType.SHAPE:
            for i in halves:
                cast(layer, i, trt.float32)
    return kept


def _may_stay(trt: Any, layer: Any) -> bool:
    kinds = trt.LayerType
    return layer.type in (
        kinds.ACTIVATION,
        kinds.POOLING,
        kinds.CONCATENATION,
        kinds.ELEMENTWISE,
        kinds.RESIZE,
    )


def _shrink(trt: Any, layer: Any) -> list[NDArray[np.float16]]:
    """Turn a convolution's own weights to half precision; return them."""
    deconvolution = layer.type == trt.LayerType.DECONVOLUTION
    # The network hands out layers without their own attributes.
    layer.__class__ = trt.IDeconvolutionLayer if deconvolution else trt.IConvolutionLayer
    kept = []
    for name in ("kernel", "bias"):
        weights = np.asarray(getattr(layer, name))
        if weights.size and weights.dtype == np.float32:
            shrunk = weights.astype(np.float16)
            setattr(layer, name, shrunk)
            kept.append(shrunk)
    return kept
