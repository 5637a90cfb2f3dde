"""Devices that run a model folder, by name."""

from pathlib import Path

import torch

from engine.device import Answer, Device
from engine.hounsfield import Hounsfield, to_float16
from engine.model import Model
from engine.serving.cpu import open_device
from engine.serving.fleet import openers
from trainer.ensemble.graph import EnsembleGraph, open_graph
from trainer.option_choices import DeviceName


def open_named(name: DeviceName, model: Model, plans: Path) -> Device:
    """Return a device with a model on it.

    Raises:
        EngineError: it is not here, or cannot run the model.
        BadModel: torch cannot rebuild the model's graph.
    """
    if name is DeviceName.TORCH:
        return _open_torch(model)
    if name is DeviceName.ONNXRUNTIME:
        from engine.devices.onnxruntime_cpu import open_onnxruntime

        return open_onnxruntime(model)
    if name is DeviceName.TENSORRT:
        return next(each for each in openers(model, plans) if each.name == "TensorRT").open()
    return open_device(model)


def _open_torch(model: Model) -> Device:
    """Return the exported program, or, in a folder without one, the graph rebuilt."""
    if model.program is None:
        return Rebuilt(open_graph(model))
    from engine.devices.torch_gpu import open_torch

    # check_available: a CUDA build of torch names "cuda" on machines without a GPU, too.
    place = torch.accelerator.current_accelerator(check_available=True)
    return open_torch(model, place="cpu" if place is None else place.type)


class Rebuilt:
    """The graph as it was trained, run eagerly on the processor."""

    name = "torch CPU"
    batch = 8

    def __init__(self, graph: EnsembleGraph) -> None:
        self._graph = graph

    def run(self, hu: Hounsfield, spacing_mm: tuple[float, float]) -> Answer:
        """Return the ensemble's answer to (n, rows, columns) slices."""
        with torch.inference_mode():
            labels, agreement = self._graph(
                torch.from_numpy(to_float16(hu)), torch.tensor(spacing_mm)
            )
        return Answer(labels.numpy(), agreement.numpy())
