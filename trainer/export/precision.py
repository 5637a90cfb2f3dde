"""A model in fewer bits: its members in half precision, or with 8-bit integers between Q and DQ.

Resampling, windows, soft-max, fusion and counting stay in float32 in all of them: near-ties decide
labels, and sums over a slice overflow half precision.
"""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import Tensor, nn

from trainer.ensemble.batchnorm_folding import fold
from trainer.ensemble.graph import EnsembleGraph
from trainer.export.model_folder import to_program, write_onnx
from trainer.export.reference import Reference

Precision = Literal["float32", "float16", "int8"]

Feed = tuple[NDArray[np.float16], float]
"""(n, rows, columns) HU and the millimetres between pixels."""


def write_graph(
    graph: EnsembleGraph,
    reference: Reference,
    precision: Precision,
    examples: list[Feed],
    path: Path,
) -> None:
    """Write a graph's ONNX in a precision.

    Args:
        graph: as trained.
        reference: slices to trace it with.
        precision: of the members.
        examples: what int8 finds the range of every value by.
        path: where to.
    """
    graph = deepcopy(graph)
    if precision == "float16":
        # Folded before halving: of a variance near the norm's 1e-5, half precision keeps few
        # digits.
        graph.members = nn.ModuleList(Half(fold(member)) for member in graph.members)
    write_onnx(to_program(graph, reference), path)
    if precision == "int8":
        _quantise(path, examples)


class Half(nn.Module):
    """A member that computes in half precision, between float32 and float32."""

    def __init__(self, member: nn.Module) -> None:
        super().__init__()
        self.member = member.half()

    def forward(self, seen: Tensor) -> Tensor:  # noqa: D102
        scores: Tensor = self.member(seen.half())
        return scores.float()


def _quantise(path: Path, examples: list[Feed]) -> None:
    """Put Q and DQ around every convolution of the members, symmetric, as TensorRT requires."""
    whole = path.with_suffix(".float32.onnx")
    path.rename(whole)
    convolutions = [
        node.name
        for node in onnx.load(whole, load_external_data=False).graph.node
        if node.op_type == "Conv"
    ]
    quantize_static(
        whole,
        path,
        _Examples(examples),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        nodes_to_quantize=convolutions,
        # Biases would become int32 behind a DequantizeLinear, which TensorRT's parser refuses
        # (onnxruntime#14229, onnx-tensorrt#850).
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
        },
    )
    whole.unlink()


class _Examples(CalibrationDataReader):  # type: ignore[misc]
    """Slices one by one, as ONNX Runtime asks for them."""

    def __init__(self, examples: list[Feed]) -> None:
        self._left: Iterator[dict[str, Any]] = (
            {"hu": hu[index : index + 1], "spacing": np.array([mm, mm], np.float32)}
            for hu, mm in examples
            for index in range(len(hu))
        )

    def get_next(self) -> dict[str, Any] | None:
        """Return the next slice, or None."""
        return next(self._left, None)
