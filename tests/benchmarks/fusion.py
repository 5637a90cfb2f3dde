"""Cost of the Blumberg fusion: its share of the graph's time, and beside seven nested loops.

`python -m tests.benchmarks.bench fusion`, or `python -m tests.benchmarks.fusion MODEL` for another
model than the default one.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import openvino
import torch
from numpy.typing import NDArray

from engine.model import Model, default_model_folder, load_model
from engine.phantom import make_phantom
from tests.benchmarks.marks import Mark, at_most, show
from trainer.ensemble.graph import labels
from trainer.recipe.sections import FusionSettings

SLICES, SIDE = 2, 512
LOOPED = 256
"""Rows and columns of the array that both have to fuse."""


class Fusion(torch.nn.Module):
    """The fusion alone."""

    def forward(self, marks: torch.Tensor) -> torch.Tensor:
        return labels(marks, FusionSettings())


def measure(folder: Path) -> Iterator[Mark]:
    """Yield both figures of the default model."""
    yield from marks(load_model(default_model_folder()), folder)


def marks(model: Model, folder: Path) -> Iterator[Mark]:
    """Yield the fusion's share of the ensemble's time, and how much faster it is than loops."""
    torch.manual_seed(0)
    whole, fusion = _share(model, folder)
    detail = (
        f"({1e3 * fusion:.1f} of {1e3 * whole:.0f} ms: {SLICES} slices, OpenVINO on one thread)"
    )
    yield at_most("fusion: of the ensemble's time", 3, 100 * fusion / whole, "%", detail)
    loops, formula = _ratio(len(model.members))
    detail = f"{loops / formula:,.0f} times ({1e3 * loops:.0f} : {1e3 * formula:.2f} ms)"
    yield Mark(f"fusion: seven nested loops, {LOOPED}x{LOOPED} pixels", "", detail, True)


def _share(model: Model, folder: Path) -> tuple[float, float]:
    """Return the seconds of the whole graph and of its fusion, each the least of several."""
    phantom = make_phantom(3, shape=(SLICES, SIDE, SIDE), spacing_mm=(20.0, 0.8, 0.8))
    thoughts = torch.rand(len(model.members), SLICES, 2, SIDE, SIDE)
    path = folder / "fusion.onnx"
    program = torch.export.export(Fusion(), (thoughts,))
    torch.onnx.export(program, f=path, input_names=["marks"], dynamo=True, verbose=False)
    fusion = _request(path, {"marks": thoughts.numpy()})
    hu = phantom.volume.hu.astype(np.float16)
    spacing = np.array([0.8, 0.8], np.float32)
    whole = _request(model.graph, {"hu": hu, "spacing": spacing})
    return _least(whole.infer, 15), _least(fusion.infer, 100)


def _request(graph: Path, feed: dict[str, NDArray[Any]]) -> Any:
    """Return a request whose inputs lie where OpenVINO wants them already."""
    core = openvino.Core()
    read = core.read_model(graph)
    read.reshape({name: list(value.shape) for name, value in feed.items()})
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    request = core.compile_model(read, "CPU", settings).create_infer_request()
    for name, value in feed.items():
        request.set_tensor(name, openvino.Tensor(value))
    return request


def _ratio(members: int) -> tuple[float, float]:
    p = torch.rand(members, 1, 2, LOOPED, LOOPED)
    fused: list[NDArray[np.uint8]] = []
    loops = _least(lambda: fused.append(seven_loops(p[:, :, :1].numpy(), 1.0)), 2)
    both = p[:, :, :1].expand(-1, -1, 2, -1, -1)
    formula = _least(lambda: labels(both, FusionSettings()), 50) / 2  # two classes, not one
    return loops, formula


def seven_loops(p: NDArray[np.float32], exponent: float) -> NDArray[np.uint8]:
    """Fuse (members, n, 1, rows, columns) as a notebook would: a loop for every axis and choice."""
    members, slices, _, rows, columns = p.shape
    fused = np.zeros((slices, rows, columns), np.uint8)
    for n in range(slices):
        for i in range(rows):
            for j in range(columns):
                scores = []
                for foreground in (False, True):
                    terms = []
                    for quantity in ("rank", "confidence"):
                        total = 0.0
                        for member in range(members):
                            own = float(p[member, n, 0, i, j])
                            for confidence in (own if foreground else 1 - own,):
                                chosen = (own > 0.5) == foreground
                                powered = confidence**exponent
                                rank = 1 - powered / (0.5 + powered)
                                if quantity == "rank":
                                    total += rank if chosen else 1.0
                                else:
                                    total += confidence if chosen else 0.0
                        terms.append(total)
                    scores.append(terms[0] * (1 - terms[1] / members))
                fused[n, i, j] = scores[1] < scores[0]
    return fused


def _least(work: Callable[[], object], times: int) -> float:
    """Return the shortest of several runs, in seconds."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        asked = Path(sys.argv[1]) if len(sys.argv) > 1 else default_model_folder()
        show(marks(load_model(asked), Path(name)))
