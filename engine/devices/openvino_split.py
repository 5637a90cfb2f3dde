"""Splitting of a graph where its members begin and end.

Bfloat16 is harmless in convolutions but not in the matrix products around them: with the whole
graph in bfloat16, 0.06 % of the reference's pixels changed and the tumour's Dice fell to 0.992;
with the members alone, 0.005 % and 1.000. OpenVINO's precision hint applies to a whole graph, hence
the split.

Members that see the liver alone follow those that find it: each such group is a stage.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import openvino
from openvino import opset13 as ops

CONVOLUTIONS = {"Convolution", "GroupConvolution", "ConvolutionBackpropData"}
ENDS = {"Softmax", "SoftMax"}
"""Operations that end a member."""


@dataclass(frozen=True)
class Stage:
    """Members that share an input."""

    begin: str
    """Name of their input."""
    ends: tuple[str, ...]
    """Names of their outputs."""


@dataclass(frozen=True)
class Cut:
    """The points where a graph is split. Each method consumes a graph, whose shapes must be fixed.

    All new nodes are named: OpenVINO's cache identifies a compiled graph by the names of its
    nodes, and numbers unnamed ones differently in every run.
    """

    stages: tuple[Stage, ...]
    """In the order in which they run."""

    def members(self, graph: openvino.Model, stage: int) -> openvino.Model:
        """Return the members of a stage; their shapes do not depend on the slice size."""
        own = self.stages[stage]
        outputs = _outputs(graph, *own.ends)
        seen = _replaced(_outputs(graph, own.begin), ["seen"])
        return openvino.Model(_results(outputs), seen, f"members {stage}")

    def around(self, graph: openvino.Model, stage: int) -> openvino.Model:
        """Return the part before a stage, or after the last one.

        Its inputs are slices, spacing and all outputs of the stages before, in their order. Its
        results are the input of the stage, or labels and agreement.
        """
        given = {each.get_friendly_name(): each for each in graph.get_parameters()}
        ends = [end for before in self.stages[:stage] for end in before.ends]
        last = stage == len(self.stages)
        # Before the ends are replaced: the node that is wanted keeps its name.
        wanted = [] if last else _outputs(graph, self.stages[stage].begin)
        found = _replaced(_outputs(graph, *ends), [f"found {index}" for index in range(len(ends))])
        results = graph.get_results() if last else _results(wanted)
        return openvino.Model(results, [given["hu"], given["spacing"], *found], f"around {stage}")


def find_cut(graph: openvino.Model) -> Cut | None:
    """Return where to split.

    None if the members of a stage do not share one input, or if there are none that end in a
    soft-max.
    """
    # By name: how many members lie one behind the other before the node's output, and whether a
    # convolution of a further one does.
    place: dict[str, tuple[int, bool]] = {}
    begin: dict[int, set[str]] = defaultdict(set)
    ends: dict[int, list[str]] = defaultdict(list)
    for node in graph.get_ordered_ops():
        sources = [
            each.get_source_output().get_node().get_friendly_name() for each in node.inputs()
        ]
        name = node.get_friendly_name()
        stage, inside = max((place[source] for source in sources), default=(0, False))
        if node.get_type_name() in CONVOLUTIONS and not inside:
            # The second input of a convolution is its weights.
            begin[stage].add(sources[0])
            inside = True
        elif node.get_type_name() in ENDS and inside:
            ends[stage].append(name)
            stage, inside = stage + 1, False
        place[name] = stage, inside
    if not ends or any(len(begin[stage]) != 1 or not ends[stage] for stage in begin):
        return None
    return Cut(tuple(Stage(begin[at].pop(), tuple(ends[at])) for at in sorted(begin)))


def _outputs(graph: openvino.Model, *names: str) -> list[openvino.Output]:
    found = {node.get_friendly_name(): node for node in graph.get_ordered_ops()}
    return [found[name].output(0) for name in names]


def _results(outputs: list[openvino.Output]) -> list[openvino.Node]:
    results = [ops.result(output) for output in outputs]
    for index, result in enumerate(results):
        result.set_friendly_name(f"result {index}")
    return results


def _replaced(outputs: list[openvino.Output], names: list[str]) -> list[openvino.Node]:
    """Replace outputs by new parameters of these names and return the parameters."""
    parameters = []
    for output, name in zip(outputs, names, strict=True):
        # Parts are joined by float32 whatever they compute in: the hint changes no inputs or
        # outputs.
        parameter = ops.parameter(output.get_shape(), np.float32)
        parameter.set_friendly_name(name)
        # A copy of the set, which shrinks as its targets get another source.
        for target in list(output.get_target_inputs()):
            target.replace_source_output(parameter.output(0))
        parameters.append(parameter)
    return parameters
