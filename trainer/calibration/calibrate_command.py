"""`hepar model calibrate`: state in a model folder how certain its results are."""

import math
from collections.abc import Iterable, Sequence
from functools import reduce
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from engine.durable_files import write_durably
from engine.manifest import Calibration, Manifest, VolumeCalibration
from engine.model import MANIFEST, load_model
from engine.serving.cpu import open_device
from trainer.calibration.agreement import BOUNDS, disputed
from trainer.calibration.calibrate import SECTION, Calibrated, beside, calibrate
from trainer.calibration.conformal import relative_errors
from trainer.calibration.lesion_fit import stated
from trainer.calibration.observations import Area, Observations, observe, on_device
from trainer.calibration.reliability import Judged, calibration_error, reliability
from trainer.datasets.cases.slices import Slices
from trainer.datasets.layouts.judged_slices import read_judged
from trainer.errors import BadData, NotWritten
from trainer.evaluation.run.patients import unseen_patients
from trainer.recipe.recipe import Recipe
from trainer.training.ensemble import slices_for

console = Console()


def calibrate_command(folder: Path, data: Path, check: Path | None) -> None:
    """Write `model.json` anew, with the calibration that the held-out patients support.

    Args:
        folder: model folder; the processor runs it.
        data: labelled data; patients that any member learnt from are passed over.
        check: labelled data of a source that no member learnt from; how well the calibration holds
            there is printed, and changes nothing.

    Raises:
        BadData: no patient in the data was held out from the model.
        DeviceFailed: the processor does not answer as the model demands.
        NotWritten: `model.json` cannot be written.
    """
    model = load_model(folder)
    recipe, device = Recipe.model_validate(model.manifest.recipe), open_device(model)
    unseen = unseen_patients(model) - model.manifest.learnt_patients
    slices = slices_for(recipe, data).of(unseen)
    if not len(slices):
        raise BadData(
            f"none of the {len(unseen)} patients held out from {model.name} {model.version} is in"
            f" {data}: name the data that it was evaluated on"
        )

    def observed(those: Slices) -> Observations:
        unknown_mm = recipe.augmentation.unknown_pixel_mm
        return observe(on_device(device), model.neighbours, those, unknown_mm)

    done = calibrate(observed(slices), len(model.members), unseen)
    _write(folder / MANIFEST, with_calibration(model.manifest, done))
    show(done)
    if check:
        others = reduce(_together, map(observed, _others(recipe, check)))
        _show_check(done, others, check)
    console.print(f"model folder: {folder}")


def with_calibration(manifest: Manifest, done: Calibrated) -> Manifest:
    """Return a manifest with a calibration in place of the one it has."""
    left_out = {
        name: reason
        for name, reason in manifest.left_out.items()
        if name.partition(".")[0] != SECTION
    }
    figures = {name: each for name, each in manifest.evaluation.items() if name != SECTION}
    changes = {
        "calibration": done.calibration,
        "left_out": left_out | dict(done.left_out),
        "evaluation": figures | dict(done.evaluation),
    }
    return manifest.model_copy(update=changes)


def show(done: Calibrated) -> None:
    """Print a calibration and how well it holds."""
    for name, reason in done.left_out.items():
        console.print(f"{name} is left out: {reason}", markup=False, highlight=False)
    stated = done.calibration
    volumes = {"liver": stated.liver_volume, "tumours": stated.tumour_volume} if stated else {}
    for name, each in volumes.items():
        if each:
            console.print(
                f"volume of the {name}: ± {100 * each.relative_error:.1f} % with"
                f" {100 * each.coverage:g} % coverage, by {each.patients} patients"
            )
    for name in BOUNDS:
        if stated and (bound := getattr(stated, name)):
            console.print(
                f"{name.replace('_', ' ')} below {bound.least:.3f} is marked for review, as of"
                f" {100 * bound.part:g} % of {bound.patients} patients"
            )
    if done.judged is not None:
        _show_reliability(done.judged, "Lesions, each by the fit without its patient")


def _write(path: Path, manifest: Manifest) -> None:
    mode = path.stat().st_mode & 0o777  # a node may read the folder as another user
    try:
        write_durably(path, (manifest.model_dump_json(indent=2) + "\n").encode(), mode=mode)
    except OSError as error:
        raise NotWritten(f"{path}: {error.strerror}; the model is as it was") from error


def _others(recipe: Recipe, folder: Path) -> Sequence[Slices]:
    return list(read_judged(folder)) or [slices_for(recipe, folder)]


def _together(first: Observations, second: Observations) -> Observations:
    """Return what was observed in different patients."""
    return Observations(
        first.marks + second.marks,
        {**first.liver, **second.liver},
        {**first.tumour, **second.tumour},
        {**first.agreement, **second.agreement},
    )


def _show_check(done: Calibrated, observed: Observations, folder: Path) -> None:
    calibration = done.calibration
    if calibration is None:
        return
    _show_coverage("liver", calibration.liver_volume, observed.liver.items(), folder)
    _show_coverage("tumours", calibration.tumour_volume, observed.tumour.items(), folder)
    _show_flagged(calibration, observed, folder)
    if calibration.lesions:
        judged = beside(observed.marks, stated(observed.marks, calibration.lesions))
        if len(judged):
            without = len(observed.marks) - len(judged)
            _show_reliability(judged, f"Lesions in {folder} ({without} without probability)")


def _show_coverage(
    name: str,
    calibration: VolumeCalibration | None,
    areas: Iterable[tuple[str, Area]],
    folder: Path,
) -> None:
    errors = np.array(list(relative_errors(dict(areas)).values()))
    if calibration and len(errors):
        inside = int(np.count_nonzero(errors <= calibration.relative_error))
        console.print(f"{folder}: {inside} of {len(errors)} patients have the {name} within")


def _show_flagged(calibration: Calibration, observed: Observations, folder: Path) -> None:
    """Print how many of the worst quarter of patients the bounds of the agreement mark."""
    for name, areas in (("liver", observed.liver), ("tumour", observed.tumour)):
        dice = {patient: area.dice for patient, area in areas.items() if area.drawn_mm2}
        worst = sorted(dice, key=lambda patient: dice[patient])[: math.ceil(len(dice) / 4)]
        marked = {patient for patient in dice if disputed(calibration, observed, patient)}
        if dice:
            console.print(
                f"{folder}: the members' agreement marks {len(marked & {*worst})} of the"
                f" {len(worst)} patients with the lowest Dice of the {name}, and"
                f" {len(marked - {*worst})} of the {len(dice) - len(worst)} others"
            )


def _show_reliability(judged: Judged, title: str) -> None:
    table = Table("Probability", "Found", "Marks", "Patients", "Weight", title=title)
    for each in reliability(judged):
        table.add_row(
            f"{each.stated:.2f}",
            f"{each.found:.2f}",
            str(each.marks),
            str(each.patients),
            f"{each.weight:.2f}",
        )
    console.print(table)
    error = calibration_error(judged)
    console.print(
        f"ECE {error.value:.3f} (95 %: {error.low:.3f} to {error.high:.3f});"
        f" {error.by_chance:.3f} by chance alone"
    )
