"""From trained members to a model folder, or to a refusal."""

import hashlib
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn
from torch.export import ExportedProgram

from engine.acceptance.reference import check_reference, compare, faults_of
from engine.device import Answer
from engine.devices.onnxruntime_cpu import open_onnxruntime
from engine.errors import DeviceFailed
from engine.manifest import Calibration, Data, Domain, Graph, Manifest, Tolerances
from engine.manifest import Working as WorkingGrid
from engine.model import GRAPH, MANIFEST, PROGRAM, REFERENCE, load_model
from engine.quiet_logging import warnings_silenced
from engine.serving.cpu import open_device
from trainer.ensemble.batchnorm_folding import fold
from trainer.ensemble.classes import CLASSES
from trainer.ensemble.graph import EnsembleGraph
from trainer.errors import ParityError
from trainer.export.reference import Reference, answer, write_reference
from trainer.recipe.recipe import Recipe

OPSET = 20
CARD = "MODEL_CARD.md"
LICENCE = "LICENSE"


@dataclass(frozen=True)
class Description:
    """Metadata of a model folder."""

    recipe: dict[str, Any]
    data: tuple[Data, ...]
    evaluation: dict[str, Any]
    card: str
    """The model card, Markdown."""
    licence: str
    """The licence of the weights, with attribution."""
    tolerances: Tolerances = field(default_factory=Tolerances)
    """Tolerances of a device against torch."""
    domain: Domain | None = None
    """What the scans were like that the members learnt from."""
    calibration: Calibration | None = None
    """How certain results are."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Sections of the manifest that could not be written, each with the reason."""


def export_model(
    members: Sequence[nn.Module], recipe: Recipe, description: Description, folder: Path
) -> None:
    """Write a model folder that answers as the members do in torch, or write nothing.

    Raises:
        ParityError: the program, ONNX Runtime or OpenVINO answers otherwise than the description
            tolerates.
    """
    with whole_or_not_at_all(folder) as part:
        graph = EnsembleGraph(members, recipe).float().eval()
        reference = answer(graph)
        program = to_program(graph, reference)
        if recipe.program:
            with _calm():
                torch.export.save(program, part / PROGRAM)
            # Read back from the file: what is saved is what devices load.
            _require_same_as_program(part / PROGRAM, reference, description.tolerances)
        write_onnx(program, part / GRAPH)
        write_reference(reference, part / REFERENCE)
        write_words(recipe, description, part)
        require_same_on_devices(part)


@contextmanager
def whole_or_not_at_all(folder: Path) -> Iterator[Path]:
    """Give a folder to write to, which takes the place of `folder` if nothing goes wrong."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
    except BaseException:  # Ctrl-C too must leave no half-written folder behind
        shutil.rmtree(part)
        raise
    # A folder cannot be replaced atomically: rename refuses one that is not empty.
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def to_program(graph: EnsembleGraph, reference: Reference) -> ExportedProgram:
    """Return the graph for any number of slices of any size."""
    free = {0: "n", 1: "rows", 2: "columns"}
    return torch.export.export(
        # A copy: `fold` changes the networks, which belong to the caller.
        fold(deepcopy(graph)),
        (reference.hu, reference.spacing),
        dynamic_shapes={
            "hu": {axis: torch.export.Dim(name) for axis, name in free.items()},
            # Two numbers always: nothing is free.
            "spacing": None,
        },
    )


def write_onnx(program: ExportedProgram, path: Path) -> None:
    """Write the same graph as ONNX, its weights within."""
    with (
        _calm(),
        warnings_silenced(),
    ):  # torch warns of operators of torchvision, which no graph here has
        torch.onnx.export(
            program,
            f=path,
            input_names=["hu", "spacing"],
            output_names=["labels", "agreement"],
            opset_version=OPSET,
            dynamo=True,
            # One file: weights beside it would need digests and names of their own.
            external_data=False,
            verbose=False,
        )
    _forget_sources(path)


@contextmanager
def _calm() -> Iterator[None]:
    """Keep back torch's warnings of what it does itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
        warnings.filterwarnings("ignore", "No complete tensor found in the group")
        yield


def _forget_sources(path: Path) -> None:
    """Take out what the exporter notes at each node: lines of code, and paths of this machine."""
    model = onnx.load(path)
    for part in (model.graph, *model.functions):
        del part.metadata_props[:]
        for item in (*part.node, *part.value_info):
            del item.metadata_props[:]
            item.ClearField("doc_string")
    onnx.save(model, path)


def _require_same_as_program(path: Path, reference: Reference, allowed: Tolerances) -> None:
    program = torch.export.load(path).module()
    with torch.inference_mode():
        labels, agreement = program(reference.hu, reference.spacing)
    expected = Answer(reference.labels, reference.agreement)
    faults = faults_of(compare(Answer(labels.numpy(), agreement.numpy()), expected), allowed)
    if faults:
        raise ParityError(
            f"{path.name} answers otherwise: {'; '.join(faults)}: nothing was written"
        )


def require_same_on_devices(folder: Path) -> None:
    """Run a model folder on ONNX Runtime and on OpenVINO.

    Raises:
        ParityError: one of them strays further from the reference than the manifest allows.
    """
    model = load_model(folder)
    # Two runtimes that share no code: an operator that one of them reads otherwise shows here.
    for open_ in (open_onnxruntime, open_device):
        try:
            check_reference(model, open_(model))
        except DeviceFailed as error:
            raise ParityError(f"{error}: nothing was written") from error


def write_words(
    recipe: Recipe, description: Description, folder: Path, precision: str = "float32"
) -> None:
    """Write the card, the licence and, last, the manifest that names every other file."""
    (folder / CARD).write_text(description.card)
    (folder / LICENCE).write_text(description.licence)
    size = recipe.working.size
    manifest = Manifest(
        contract=1,
        name=recipe.name,
        version=recipe.version,
        members=tuple(member.name for member in recipe.members),
        classes=CLASSES,
        working=WorkingGrid(
            spacing_mm=recipe.working.spacing_mm,
            size=(size, size),
            neighbours=recipe.working.neighbours,
            liver_hu=recipe.working.liver_hu,
        ),
        graph=Graph.model_validate({"opset": OPSET, "precision": precision}),
        tolerances=description.tolerances,
        recipe=description.recipe,
        data=description.data,
        evaluation=description.evaluation,
        domain=description.domain,
        calibration=description.calibration,
        left_out=dict(description.left_out),
        # Before the manifest is written, which cannot hold its own digest.
        files={path.name: _sha256(path) for path in sorted(folder.iterdir())},
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
