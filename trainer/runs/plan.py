"""`hepar train plan DATA`: a recipe proposed from the data's own spacings, sizes and volumes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from trainer.datasets.checks.check import check_folder
from trainer.datasets.checks.facts import Facts
from trainer.errors import BadData
from trainer.patient_counts import patients
from trainer.recipe.recipe import load_recipe

SIZE = 256
"""Pixels of the working grid, as of `base`; more where tumours are small."""
FINE_SIZE = 384
SMALL_ML = 4.0
"""Median tumour below which the grid is finer: a ball of 20 mm, 11 pixels of 1.75 mm."""
BODY = 0.92
"""Part of the field of view that a body takes up; what lies beside it is air."""
PASSES = 24
"""Times that each slice is learnt from, as `base` does in its first two cycles."""
FEWEST_STEPS, MOST_STEPS = 400, 6000
APART_MM = 3.0
"""Slices nearer than this show nearly the same."""
FEW_PATIENTS = 20
"""Below it one network is proposed: three would learn the same few by heart."""


@dataclass(frozen=True)
class DataShape:
    """What the proposal rests on; medians over series."""

    patients: int
    ill: int
    """Patients with drawn tumours."""
    slices: int
    """Slices that a recipe of this step would learn from."""
    view_mm: float
    """Field of view that nine of ten series stay below; nan where every size is lost."""
    pixel_mm: float
    slice_mm: float
    """nan where slices are single."""
    tumour_ml: float
    """nan where none was drawn, or sizes are lost."""
    low_hu: int
    high_hu: int


def plan(data: Path, output: Path, console: Console) -> None:
    """Write a recipe that fits the data, with the reason beside each key.

    Raises:
        BadData: there is nothing to learn from.
    """
    checked = check_folder(data, console)
    if not checked.facts:
        raise BadData(
            f"no case in {data} can be used: all {len(checked.broken)} are broken; "
            "`hepar dataset check` says why"
        )
    shape = shape_of(checked.facts)
    output.write_text(to_toml(shape, output.stem))
    load_recipe(str(output))  # what is proposed can be trained by
    console.print(output.read_text(), markup=False, highlight=False)
    console.print(f"recipe: {output}", markup=False)
    console.print(f"hepar train {output} --data {data}", markup=False, highlight=False)


def shape_of(facts: Sequence[Facts]) -> DataShape:
    """Sum up the series of a data set."""
    between = np.array([each.spacing_mm[0] for each in facts])
    slice_mm = _median(between)
    views = np.array([each.shown.pixel_mm[0] * each.shown.side for each in facts], float)
    known = views[~np.isnan(views)]
    lows, highs = zip(*(each.hu for each in facts), strict=True)
    step = max(1, round(_step_mm(slice_mm) / slice_mm)) if slice_mm > 0 else 1
    return DataShape(
        patients=len({each.patient for each in facts}),
        ill=len({each.patient for each in facts if each.tumour_slices}),
        slices=sum(each.slices for each in facts) // step,
        view_mm=float(np.quantile(known, 0.9)) if len(known) else math.nan,
        pixel_mm=_median(np.array([each.spacing_mm[1] for each in facts])),
        slice_mm=slice_mm,
        tumour_ml=_median(np.array([each.tumour_ml for each in facts if each.tumour_slices])),
        low_hu=int(np.median(lows)),
        high_hu=int(np.median(highs)),
    )


def to_toml(shape: DataShape, name: str) -> str:
    """Return the recipe as TOML: keys of `base`, and in their place those that the data ask for."""
    fine = shape.tumour_ml < SMALL_ML
    size = FINE_SIZE if fine else SIZE
    spacing_mm = _spacing_mm(shape.view_mm, size)
    crop = math.ceil(size * 0.875 / 32) * 32
    steps = _steps(shape.slices)
    why_size = (
        f"the median tumour of {shape.tumour_ml:.1f} ml is smaller than {SMALL_ML:g} ml"
        if fine
        else "no drawn tumours so small that they would need more"
    )
    return f"""# Proposed by `hepar train plan` from {patients(shape.patients)}, {shape.ill} with
# drawn tumours, and {shape.slices} slices. A key that is not here is that of `base`.
like = "base"
name = "{_name(name)}"
version = "1.0.0"
description = "Proposed from the data set's own spacings, sizes and volumes"
held_out = {_held_out(shape.patients)}  # one patient in so many is looked at once, in the end
validation = {_validation(shape.patients)}  # of the others one in so many steers; 0: none
slice_step_mm = {_step_mm(shape.slice_mm):g}  # slices lie {_mm(shape.slice_mm)} apart
crop = {crop}

[working]
# The field of view is {_mm(shape.view_mm)}, its pixels {_mm(shape.pixel_mm)}.
spacing_mm = {spacing_mm:g}
size = {size}  # {why_size}
# Voxels have {shape.low_hu} to {shape.high_hu} HU.
clip_hu = [{_clip(shape)[0]}, {_clip(shape)[1]}]

[augmentation]
unknown_pixel_mm = {_unknown_mm(shape):g}

[batch]
{_batch(shape)}

{_members(shape.patients, steps)}"""


def _spacing_mm(view_mm: float, size: int) -> float:
    if math.isnan(view_mm):
        return round(1.75 * SIZE / size, 2)
    return max(0.7, round(view_mm * BODY / size, 2))


def _unknown_mm(shape: DataShape) -> float:
    return 1.5 if math.isnan(shape.view_mm) else round(shape.view_mm / 256, 2)


def _step_mm(slice_mm: float) -> float:
    return APART_MM if slice_mm < APART_MM else 0.0


def _clip(shape: DataShape) -> tuple[int, int]:
    """Bounds of `base`, no wider than what the voxels have kept, wider where they kept more."""
    low, high = max(-100, shape.low_hu), min(240, shape.high_hu)
    return (low, high) if low < high else (0, 160)


def _steps(slices: int) -> int:
    return int(np.clip(round(slices * PASSES / 12, -2), FEWEST_STEPS, MOST_STEPS))


def _held_out(patients: int) -> int:
    return max(2, min(5, patients))


def _validation(patients: int) -> int:
    return 6 if patients >= 12 else 0


def _batch(shape: DataShape) -> str:
    if not shape.ill:
        return "tumour = 0  # none was drawn\nother = 11\nphantom = 1"
    small = 2 if shape.tumour_ml < SMALL_ML else 0
    return f"tumour = {6 - small}\nsmall = {small}\nother = 5\nphantom = 1"


def _members(patients: int, steps: int) -> str:
    networks = ["fpn"] if patients < FEW_PATIENTS else ["unet", "linknet", "fpn"]
    return "\n".join(
        f'[[members]]\nnetwork = "{network}"\ncycles = [{steps * 2 // 3}, {steps // 3}]\n'
        f"seed = {seed}\n"
        for seed, network in enumerate(networks, start=1)
    )


def _name(stem: str) -> str:
    kept = "".join(each if each.isascii() and each.isalnum() else "-" for each in stem.lower())
    return kept.strip("-") or "planned"


def _median(values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else math.nan


def _mm(value: float) -> str:
    return "of unknown size" if math.isnan(value) else f"{value:.2f} mm"
