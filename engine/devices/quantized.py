"""Quantisation of a model's graph to int8, as ONNX with quantise/dequantise pairs.

Activation ranges come from the model's reference slices. The first and last convolutions of each
member stay in float32. The default model then passes its gate: 0.01 % of the reference's pixels
differ, the tumours' Dice is 0.999. With symmetric ranges it fails: 0.05 % and 0.9946 (measured with
OpenVINO). On a processor with bfloat16, int8 is no faster than bfloat16 (73 against 67 ms).
"""

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from engine.acceptance.reference import read_reference
from engine.errors import BuildFailed, LibraryMissing
from engine.model import Model
from engine.quiet_logging import warnings_silenced

KEPT_AT_END = 3
"""Convolutions before the output, counted along the shortest path, that stay in float32."""
CONVOLUTIONS = {"Conv", "ConvTranspose"}


def quantized_graph(model: Model, *, symmetric: bool) -> bytes:
    """Return the ONNX file of the quantised graph.

    Args:
        model: to quantise.
        symmetric: use symmetric ranges for activations too, as TensorRT requires; otherwise all
            8 bits cover the values above zero.

    Raises:
        LibraryMissing: `onnx` or `onnxruntime` is not installed.
        BuildFailed: the graph has no convolution to quantise.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    except ImportError as error:
        raise LibraryMissing(f"int8 needs Hepar's extra `int8` ({error}); install it") from error
    graph = onnx.load(model.graph).graph
    chosen = _quantizable(graph)
    if not chosen:
        raise BuildFailed(f"{model.graph} has no convolution that may be quantised; use float16")
    with (
        tempfile.TemporaryDirectory(prefix="hepar-int8-") as folder,
        warnings_silenced(),  # ONNX Runtime logs general advice on graphs
    ):
        target = Path(folder) / "quantized.onnx"
        quantize_static(
            model.graph,
            target,
            _Slices(model),
            quant_format=QuantFormat.QDQ,
            # Transposed convolutions are counted as such, but stay in float32.
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=chosen,
            per_channel=True,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Biases would become int32 behind a DequantizeLinear, which TensorRT's parser refuses
            # (onnxruntime#14229, onnx-tensorrt#850).
            extra_options={"ActivationSymmetric": symmetric, "QuantizeBias": False},
        )
        return target.read_bytes()


def _quantizable(graph: Any) -> list[str]:
    """Return the names of the convolutions between the first and the last ones."""
    from_end = _convolutions_to_end(graph)
    first = _first_convolutions(graph)
    return [
        node.name
        for node in graph.node
        if node.op_type == "Conv" and from_end[node.name] >= KEPT_AT_END and node.name not in first
    ]


def _convolutions_to_end(graph: Any) -> dict[str, int]:
    """Return the smallest number of convolutions between each convolution and the output."""
    few: dict[str, int] = defaultdict(lambda: len(graph.node))  # by tensor: convolutions behind it
    few |= {output.name: 0 for output in graph.output}
    found = {}
    # ONNX requires nodes in topological order, so one pass from either end is enough.
    for node in reversed(graph.node):
        behind = min(few[output] for output in node.output)
        if node.op_type in CONVOLUTIONS:
            found[node.name] = behind
            behind += 1
        for name in node.input:
            few[name] = min(few[name], behind)
    return found


def _first_convolutions(graph: Any) -> set[str]:
    """Return the convolutions that no other convolution precedes."""
    behind: set[str] = set()
    first = set()
    for node in graph.node:
        after = any(name in behind for name in node.input)
        if node.op_type in CONVOLUTIONS and not after:
            first.add(node.name)
        if after or node.op_type in CONVOLUTIONS:
            behind.update(node.output)
    return first


class _Slices:
    """Calibration data reader: the reference's slices, one at a time."""

    def __init__(self, model: Model) -> None:
        hu, spacing_mm, _ = read_reference(model)
        spacing = np.array(spacing_mm, np.float32)
        self._left = iter([{"hu": each[None], "spacing": spacing} for each in hu])

    def get_next(self) -> dict[str, Any] | None:
        """Return the next input, or None after the last (ONNX Runtime's protocol)."""
        return next(self._left, None)
