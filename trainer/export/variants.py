"""`hepar model export`: a trained model as a folder of another precision."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from engine.acceptance.reference import compare, read_reference
from engine.device import Device
from engine.devices.onnxruntime_cpu import open_onnxruntime
from engine.devices.openvino_cpu import open_openvino
from engine.manifest import Tolerances
from engine.model import GRAPH, MANIFEST, REFERENCE, Model, load_model
from engine.volume import Label
from trainer.datasets.cases.neighbours import upwards
from trainer.datasets.cases.phantoms import phantom_slices
from trainer.datasets.cases.slices import Slices
from trainer.ensemble.graph import open_graph
from trainer.errors import BadData, ParityError
from trainer.evaluation.metrics.overlap import Figures, Tally
from trainer.evaluation.run.patients import unseen_patients
from trainer.evaluation.run.slicewise import Alike, alike
from trainer.export.model_folder import (
    CARD,
    LICENCE,
    Description,
    export_model,
    whole_or_not_at_all,
    write_words,
)
from trainer.export.precision import Feed, Precision, write_graph
from trainer.export.reference import answer, write_reference
from trainer.recipe.recipe import Recipe
from trainer.training.ensemble import read_cases
from trainer.training.fusion_choice import mean_dice

console = Console()

LEAST_DICE = {"float16": 0.99, "int8": 0.95}
"""Of the liver with the float32 answers to the reference; a variant below it is refused."""
MARGIN = 2.0
"""Factor between the differences measured here and those allowed for other devices."""
CALIBRATION = 24
"""Slices that int8 finds the range of every value by."""
PHANTOMS = 3
"""Their slices judge, and others' calibrate, where no data is at hand."""


@dataclass(frozen=True)
class ReferenceSlices:
    """Slices that int8 is calibrated by, and others that judge."""

    examples: Slices
    slices: Slices
    said: str
    """Description for the model card."""


def export_variant(run: Path, output: Path, precision: Precision, data: Path | None) -> None:
    """Write the model of a run, or a model folder, once more, in the precision asked for.

    Args:
        run: a run's folder, or a model folder with float32 weights.
        output: the model folder to write.
        precision: of the members.
        data: labelled data; its held-out patients judge, its others calibrate. Phantoms if None.

    Raises:
        BadModel: the folder does not hold the weights.
        ParityError: the variant strays too far from float32; nothing was written.
    """
    model = load_model(run if (run / MANIFEST).is_file() else run / "model")
    recipe = Recipe.model_validate(model.manifest.recipe)
    if precision == "float32":
        members = list(open_graph(model).members)
        export_model(members, recipe.model_copy(update={"program": True}), _words(model), output)
    else:
        _write(model, recipe, output, precision, _judges(model, recipe, data))
    console.print(f"model folder: {output}")


def _write(
    model: Model, recipe: Recipe, output: Path, precision: Precision, judges: ReferenceSlices
) -> None:
    unknown_mm = recipe.augmentation.unknown_pixel_mm
    graph = open_graph(model)
    reference = answer(graph)
    with whole_or_not_at_all(output) as part:
        examples = _feeds(judges.examples, unknown_mm)
        write_graph(graph, reference, precision, examples, part / GRAPH)
        write_reference(reference, part / REFERENCE)
        write_words(recipe, _words(model), part, precision)
        variant = load_model(part)
        tolerances = _tolerances(variant, precision)
        losses = _losses(model, variant, judges, unknown_mm)
        # Else the second manifest would list the first among its files.
        (part / MANIFEST).unlink()
        words = _words(model, losses, _section(losses, precision, judges.said), tolerances)
        write_words(recipe, words, part, precision)
    console.print(_section(losses, precision, judges.said), markup=False)


def _judges(model: Model, recipe: Recipe, data: Path | None) -> ReferenceSlices:
    if data is None:
        count = f"{PHANTOMS} computer-drawn phantoms"
        # Seeds below PHANTOM_SEEDS: no recipe has trained on these.
        return ReferenceSlices(
            _thinned(phantom_slices(1, 900)), phantom_slices(PHANTOMS, 901), count
        )
    # Ranges of values must come from patients.
    unphantomed = recipe.model_copy(update={"phantoms": 0})
    cases = read_cases(unphantomed, data, sorted(unseen_patients(model)))
    if not len(cases.held_out) or not len(cases.train):
        raise BadData(
            f"{data} has {len(cases.split.held_out)} patients held out and "
            f"{len(cases.split.train)} others; it takes one of each, to judge and to calibrate: "
            "name the data that the model was trained with, or leave --data out"
        )
    patients = f"{len(cases.split.held_out)} held-out patients"
    return ReferenceSlices(_thinned(cases.train), cases.held_out, patients)


def _thinned(slices: Slices) -> Slices:
    return slices[np.linspace(0, len(slices) - 1, min(CALIBRATION, len(slices))).astype(int)]


def _feeds(slices: Slices, unknown_mm: float) -> list[Feed]:
    return [(part.hu, part.pixel_mm) for part in alike(slices, unknown_mm)]


def _tolerances(variant: Model, precision: Precision) -> Tolerances:
    """Return how far devices may stray from float32, by how far the two here do.

    Raises:
        ParityError: they stray too far to be used.
    """
    hu, spacing_mm, expected = read_reference(variant)
    # Not `open_device`, which would refuse what is to be measured here.
    devices: list[Device] = [open_onnxruntime(variant), open_openvino(variant)]
    strays = [compare(device.run(hu, spacing_mm), expected) for device in devices]
    liver = min(stray.dice[Label.LIVER] for stray in strays)
    dice = min(min(stray.dice.values()) for stray in strays)
    if liver < LEAST_DICE[precision]:
        raise ParityError(
            f"{precision} has Dice {liver:.3f} of the liver with the float32 answers (less than "
            f"{LEAST_DICE[precision]}): nothing was written"
        )
    plain = Tolerances()
    pixels = max(stray.differing_pixels for stray in strays)
    agreement = max(max(stray.agreement.values()) for stray in strays)
    return Tolerances(
        differing_pixels=max(plain.differing_pixels, round(MARGIN * pixels, 5)),
        # Never tighter than the usual bounds, and never outside of what the manifest allows.
        dice=max(0.0, min(plain.dice, round(1 - MARGIN * (1 - dice), 4))),
        agreement=min(1.0, max(plain.agreement, round(MARGIN * agreement, 4))),
    )


def _losses(
    model: Model, variant: Model, judges: ReferenceSlices, unknown_mm: float
) -> dict[str, dict[str, float]]:
    """Return the mean Dice of patients, of the model and of the variant, and the loss."""
    before, after = (
        _dice(open_onnxruntime(each), judges.slices, unknown_mm, model.neighbours)
        for each in (model, variant)
    )
    loss = {name: round(before[name] - after[name], 4) for name in before}
    return {"float32": before, variant.manifest.graph.precision: after, "loss": loss}


def _dice(device: Device, slices: Slices, unknown_mm: float, neighbours: int) -> dict[str, float]:
    tally = Tally()
    for part in alike(slices, unknown_mm, neighbours):
        tally.add(part.patient, _marked(device, part, neighbours), part.slices.target)
    figures: Figures = tally.figures()
    return {
        "liver": round(mean_dice(figures.liver), 4),
        "tumour": round(mean_dice(figures.tumour), 4),
    }


def _marked(device: Device, part: Alike, neighbours: int) -> NDArray[np.uint8]:
    """Return a device's labels; where neighbours count, slice by slice, its own beside it."""
    spacing_mm = part.pixel_mm, part.pixel_mm
    if not neighbours:
        return device.run(part.hu, spacing_mm).labels
    slabs = part.hu[:, upwards(neighbours)]
    # Slices of one call are each other's neighbours, so each slab is a call of its own.
    return np.stack([device.run(slab, spacing_mm).labels[neighbours] for slab in slabs])


def _section(losses: Mapping[str, Mapping[str, float]], precision: str, judges: str) -> str:
    rows = [f"| {name} | {of['liver']:.4f} | {of['tumour']:.4f} |" for name, of in losses.items()]
    head = f"The members compute in {precision}. Mean Dice of {judges}, on ONNX Runtime:"
    return "\n".join(["## Precision", "", head, "", "| | liver | tumour |", "|---|---|---|", *rows])


def _words(
    model: Model,
    losses: Mapping[str, Any] | None = None,
    section: str = "",
    tolerances: Tolerances | None = None,
) -> Description:
    """Return the model's description, extended by the variant's."""
    said = model.manifest
    card = (model.folder / CARD).read_text()
    if section:
        card = card.replace("## What it is not for", f"{section}\n\n## What it is not for")
    return Description(
        recipe=said.recipe,
        data=said.data,
        evaluation=said.evaluation | ({"precision": losses} if losses else {}),
        card=card,
        licence=(model.folder / LICENCE).read_text(),
        tolerances=tolerances or said.tolerances,
        domain=said.domain,
        calibration=said.calibration,
        left_out=said.left_out,
    )
