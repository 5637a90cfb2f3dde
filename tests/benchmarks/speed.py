"""The ensemble on the processor: OpenVINO beside torch eager, the same graph in the same run."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from engine.model import default_model_folder, load_model
from engine.phantom import make_phantom
from engine.serving.cpu import open_device
from tests.benchmarks.marks import Mark, at_least
from trainer.ensemble.graph import open_graph

SLICES = 16
ROUNDS = 5


def measure(folder: Path) -> Iterator[Mark]:
    """Give both the same slices in turn."""
    phantom = make_phantom(shape=(SLICES, 512, 512), spacing_mm=(20, 0.75, 0.75))
    hu = phantom.volume.hu.astype(np.float16)
    ours, eager = openvino_run(hu), eager_run(hu)
    pairs = [(seconds(ours), seconds(eager)) for _ in range(ROUNDS)]
    faster = median(slow / fast for fast, slow in pairs)
    fast, slow = (SLICES / median(times) for times in zip(*pairs, strict=True))
    yield at_least(
        "OpenVINO beside torch eager", 2.5, faster, f"({fast:.1f} : {slow:.1f} slices/s)"
    )


def openvino_run(hu: NDArray[np.float16]) -> Callable[[], object]:
    """The default model as the node runs it."""
    device = open_device(load_model(default_model_folder()))
    return lambda: device.run(hu, (0.75, 0.75))


def eager_run(hu: NDArray[np.float16]) -> Callable[[], object]:
    """The same model's graph in torch."""
    graph = open_graph(load_model(default_model_folder()))
    slices, spacing = torch.from_numpy(hu), torch.tensor([0.75, 0.75])

    def run() -> None:
        with torch.inference_mode():
            for few in slices.split(4):
                graph(few, spacing)

    return run


def seconds(run: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun
