"""Splitting of a graph into three parts: before the members, the members, after them.

Bfloat16 is harmless in convolutions but not in the matrix products around them: with the whole
graph in bfloat16, 0.06 % of the reference's pixels changed and the tumour's Dice fell to 0.992;
with the members alone, 0.005 % and 1.000. OpenVINO's precision hint applies to a whole graph, hence
the split.
"""

from dataclasses import dataclass

import numpy as np
import openvino
from openvino import opset13 as ops

CONVOLUTIONS = {"Convolution", "GroupConvolution", "ConvolutionBackpropData"}
ENDS = {"Softmax", "SoftMax"}
"""Operations that end a member."""


@dataclass(frozen=True)
class Cut:
    """The points where a graph is split. Each method consumes a graph, whose shapes must be fixed.

    All new nodes are named: OpenVINO's cache identifies a compiled graph by the names of its
    nodes, and numbers unnamed ones differently in every run.
    """

    begin: str
    """Name of the members' input."""
    ends: tuple[str, ...]
    """Names of the members' outputs."""

    def before(self, graph: openvino.Model) -> openvino.Model:
        """Return the part from slices and spacing to the members' input."""
        seen = _outputs(graph, self.begin)
        return openvino.Model(_results(seen), graph.get_parameters(), "before")

    def members(self, graph: openvino.Model) -> openvino.Model:
        """Return the members; their shapes do not depend on the slice size."""
        outputs = _outputs(graph, *self.ends)
        (seen,) = _replaced(_outputs(graph, self.begin))
        return openvino.Model(_results(outputs), [seen], "members")

    def after(self, graph: openvino.Model) -> openvino.Model:
        """Return the part from slices, spacing and the members' outputs to labels and agreement."""
        outputs = _replaced(_outputs(graph, *self.ends))
        given = {each.get_friendly_name(): each for each in graph.get_parameters()}
        inputs = [given["hu"], given["spacing"], *outputs]
        return openvino.Model(graph.get_results(), inputs, "after")


def find_cut(graph: openvino.Model) -> Cut | None:
    """Return where to split; None if the members do not share one input or end in no soft-max."""
    # By name: whether a member's first convolution comes before the node.
    behind: dict[str, bool] = {}
    begin, ends = set(), []
    for node in graph.get_ordered_ops():
        sources = [
            each.get_source_output().get_node().get_friendly_name() for each in node.inputs()
        ]
        name = node.get_friendly_name()
        behind[name] = any(behind[source] for source in sources)
        if node.get_type_name() in CONVOLUTIONS and not behind[name]:
            # The second input of a convolution is its weights.
            begin.add(sources[0])
            behind[name] = True
        elif node.get_type_name() in ENDS and behind[name]:
            ends.append(name)
    return Cut(begin.pop(), tuple(ends)) if len(begin) == 1 and ends else None


def _outputs(graph: openvino.Model, *names: str) -> list[openvino.Output]:
    found = {node.get_friendly_name(): node for node in graph.get_ordered_ops()}
    return [found[name].output(0) for name in names]


def _results(outputs: list[openvino.Output]) -> list[openvino.Node]:
    results = [ops.result(output) for output in outputs]
    for index, result in enumerate(results):
        result.set_friendly_name(f"result {index}")
    return results


def _replaced(outputs: list[openvino.Output]) -> list[openvino.Node]:
    """Replace outputs by new parameters and return these."""
    parameters = []
    for index, output in enumerate(outputs):
        # Parts are joined by float32 whatever they compute in: the hint changes no inputs or
        # outputs.
        parameter = ops.parameter(output.get_shape(), np.float32)
        parameter.set_friendly_name(f"parameter {index}")
        # A copy of the set, which shrinks as its targets get another source.
        for target in list(output.get_target_inputs()):
            target.replace_source_output(parameter.output(0))
        parameters.append(parameter)
    return parameters
