"""From trained members to a model folder, or to a refusal."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.devices import open_device
from engine.errors import DeviceFailed
from engine.manifest import Data, Graph, Manifest
from engine.manifest import Working as WorkingGrid
from engine.model import GRAPH, MANIFEST, REFERENCE, load_model
from engine.phantom import make_phantom
from engine.reference import check_reference
from trainer.classes import CLASSES
from trainer.errors import ParityError
from trainer.graph import EnsembleGraph
from trainer.recipe import Recipe

OPSET = 20
CARD = "MODEL_CARD.md"
LICENCE = "LICENSE"
TOLERATED_PIXELS = 0.001
"""Part of the reference's pixels that ONNX Runtime may label otherwise than torch."""


@dataclass(frozen=True)
class Description:
    """What a model folder says of itself beside its graph."""

    recipe: dict[str, Any]
    data: tuple[Data, ...]
    evaluation: dict[str, Any]
    card: str
    """The model card, Markdown."""
    licence: str
    """The licence of the weights, with attribution."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Slices of a phantom, and what the float32 graph answers in torch."""

    hu: Tensor
    spacing: Tensor
    labels: NDArray[np.uint8]
    agreement: NDArray[np.float32]


def export_model(
    members: Sequence[nn.Module], recipe: Recipe, description: Description, folder: Path
) -> None:
    """Write a model folder that answers as the members do in torch, or write nothing.

    Raises:
        ParityError: ONNX Runtime or OpenVINO answers otherwise.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        graph = EnsembleGraph(members, recipe.working).float().eval()
        reference = _answer(graph)
        _write_onnx(graph, reference, part / GRAPH)
        _require_same_in_onnx_runtime(reference, part / GRAPH)
        _write_reference(reference, part / REFERENCE)
        _write_words(recipe, description, part)
        _require_same_on_device(part)
    except BaseException:
        shutil.rmtree(part)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _answer(graph: EnsembleGraph) -> Reference:
    """Answer slices of a phantom, so that no patient's image travels with a model."""
    phantom = make_phantom(7, shape=(8, 288, 320), spacing_mm=(25.0, 1.3, 1.25))
    hu = torch.from_numpy(phantom.volume.hu[2:7]).half()
    spacing = torch.tensor(phantom.volume.geometry.spacing[1:], dtype=torch.float32)
    with torch.inference_mode():
        labels, agreement = graph(hu, spacing)
    return Reference(hu, spacing, labels.numpy(), agreement.numpy())


def _write_onnx(graph: EnsembleGraph, reference: Reference, path: Path) -> None:
    free = {0: "n", 1: "rows", 2: "columns"}
    torch.onnx.export(
        graph,
        (reference.hu, reference.spacing),
        path,
        input_names=["hu", "spacing"],
        output_names=["labels", "agreement"],
        dynamic_shapes={
            "hu": {axis: torch.export.Dim(name) for axis, name in free.items()},
            "spacing": None,
        },
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _require_same_in_onnx_runtime(reference: Reference, path: Path) -> None:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {"hu": reference.hu.numpy(), "spacing": reference.spacing.numpy()}
    labels, _ = session.run(None, feed)
    differing = float(np.mean(np.asarray(labels) != reference.labels))
    if differing > TOLERATED_PIXELS:
        raise ParityError(
            f"ONNX Runtime labels {differing:.3%} of the reference's pixels otherwise than torch "
            f"(more than {TOLERATED_PIXELS:.3%}): nothing was written"
        )


def _require_same_on_device(folder: Path) -> None:
    model = load_model(folder)
    try:
        check_reference(model, open_device(model))
    except DeviceFailed as error:
        raise ParityError(f"{error}: nothing was written") from error


def _write_reference(reference: Reference, path: Path) -> None:
    np.savez_compressed(
        path,
        hu=reference.hu.numpy(),
        spacing=reference.spacing.numpy(),
        labels=reference.labels,
        agreement=reference.agreement,
    )


def _write_words(recipe: Recipe, description: Description, folder: Path) -> None:
    """Write the card, the licence and, last, the manifest that names every other file."""
    (folder / CARD).write_text(description.card)
    (folder / LICENCE).write_text(description.licence)
    size = recipe.working.size
    manifest = Manifest(
        contract=1,
        name=recipe.name,
        version=recipe.version,
        members=tuple(member.network for member in recipe.members),
        classes=CLASSES,
        working=WorkingGrid(spacing_mm=recipe.working.spacing_mm, size=(size, size)),
        graph=Graph(opset=OPSET, precision="float32"),
        recipe=description.recipe,
        data=description.data,
        evaluation=description.evaluation,
        files={path.name: _sha256(path) for path in sorted(folder.iterdir())},
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
