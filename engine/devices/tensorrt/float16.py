"""Conversion of the members to float16, from their first to their last convolution.

Resampling, soft-max, fusion and counting stay in float32: sums over a slice would overflow float16,
and rounding would flip labels at near-ties.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_half(trt: Any, network: Any) -> list[NDArray[np.float16]]:
    """Convert every convolution of a strongly typed network, and the layers between, to float16.

    Returns:
        The converted weights. The network only points to them, so they must outlive the build.
    """
    half: set[str] = set()
    kept: list[NDArray[np.float16]] = []
    # One cast per tensor and type: a skip connection has several readers.
    casts: dict[tuple[str, Any], Any] = {}

    def cast(layer: Any, index: int, kind: Any) -> None:
        tensor = layer.get_input(index)
        if (tensor.name, kind) not in casts:
            casts[tensor.name, kind] = network.add_cast(tensor, kind).get_output(0)
        layer.set_input(index, casts[tensor.name, kind])

    # A list of the layers there are now: `cast` appends new ones to the network.
    for layer in [network.get_layer(i) for i in range(network.num_layers)]:
        names = {i: layer.get_input(i).name for i in range(layer.num_inputs) if layer.get_input(i)}
        halves = [i for i, name in names.items() if name in half]
        if layer.type in (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION):
            for i in set(names) - set(halves):
                cast(layer, i, trt.float16)
            kept += _halve_weights(trt, layer)
            half.add(layer.get_output(0).name)
        # All inputs or none: a strongly typed network refuses layers of mixed types.
        elif _keeps_type(trt, layer) and len(halves) == len(names) > 0:
            half.add(layer.get_output(0).name)
        # A shape layer reads no values, so the type of its input does not matter.
        elif layer.type != trt.LayerType.SHAPE:
            for i in halves:
                cast(layer, i, trt.float32)
    return kept


def _keeps_type(trt: Any, layer: Any) -> bool:
    kinds = trt.LayerType
    return layer.type in (
        kinds.ACTIVATION,
        kinds.POOLING,
        kinds.CONCATENATION,
        kinds.ELEMENTWISE,
        kinds.RESIZE,
    )


def _halve_weights(trt: Any, layer: Any) -> list[NDArray[np.float16]]:
    """Convert a convolution's own weights to float16 and return them."""
    deconvolution = layer.type == trt.LayerType.DECONVOLUTION
    # get_layer returns the base class ILayer, which lacks `kernel` and `bias`; the bindings accept
    # this assignment of the real class.
    layer.__class__ = trt.IDeconvolutionLayer if deconvolution else trt.IConvolutionLayer
    kept = []
    for name in ("kernel", "bias"):
        weights = np.asarray(getattr(layer, name))
        # Size 0: there is no bias, or the weights are another layer's output.
        if weights.size and weights.dtype == np.float32:
            halved = weights.astype(np.float16)
            setattr(layer, name, halved)
            kept.append(halved)
    return kept
