"""Figures as the model's manifest and its card state them."""

from collections.abc import Mapping
from typing import Any

from engine.manifest import Data
from trainer.evaluation.overlap import Figures, Overlap
from trainer.recipe import Recipe
from trainer.run import Cases


def to_evaluation(figures: Mapping[str, Figures], cases: Cases, fusion: str) -> dict[str, Any]:
    """Return what the manifest says of the evaluation: every variant, and the chosen one whole."""
    chosen = figures[fusion]
    return {
        "held_out_patients": list(cases.split.held_out),
        "slices": len(cases.held_out),
        "tumour_patients": chosen.tumour_patients,
        "fusion": fusion,
        "pooled_dice": {name: _pooled(each) for name, each in figures.items()},
        "patient_dice": {
            "liver": _dice(chosen.liver),
            "tumour": _dice(chosen.tumour),
        },
    }


def to_card(recipe: Recipe, figures: Mapping[str, Figures], cases: Cases) -> str:
    """Write the model card."""
    chosen = figures[recipe.fusion.kind]
    return CARD.format(
        recipe=recipe,
        members=", ".join(
            f"{m.network} ({' + '.join(map(str, m.cycles))} steps, seed {m.seed})"
            for m in recipe.members
        ),
        spacing=recipe.working.spacing_mm,
        size=recipe.working.size,
        train_slices=len(cases.train),
        train_patients=len(cases.split.train),
        held_out_slices=len(cases.held_out),
        held_out_patients=len(cases.split.held_out),
        tumour_patients=chosen.tumour_patients,
        fusions="\n".join(_row(name, each) for name, each in figures.items()),
        patients="\n".join(_patient(name, chosen) for name in sorted(chosen.liver)),
    )


def _pooled(figures: Figures) -> dict[str, float]:
    return {
        "liver": round(figures.pooled_liver, 4),
        "tumour": round(figures.pooled_tumour, 4),
    }


def _dice(overlaps: Mapping[str, Overlap]) -> dict[str, float]:
    """Dice of every patient who has the thing; of the others it says nothing."""
    return {name: round(each.dice, 4) for name, each in overlaps.items() if each.true}


def _row(name: str, figures: Figures) -> str:
    return f"| {name} | {figures.pooled_liver:.3f} | {figures.pooled_tumour:.3f} |"


def _patient(name: str, figures: Figures) -> str:
    tumour = figures.tumour.get(name)
    if tumour is None:
        said = "not drawn"
    elif tumour.true:
        said = f"{tumour.dice:.3f} ({tumour.true} pixels)"
    else:
        said = f"none; {tumour.predicted} pixels marked falsely"
    return f"| {name} | {figures.liver[name].dice:.3f} | {said} |"


DATA = (
    Data(
        name="Medical Segmentation Decathlon, Task03 Liver",
        licence="CC BY-SA 4.0",
        attribution="Antonelli et al. 2022, doi:10.1038/s41467-022-30695-9",
    ),
    Data(
        name="LiTS, Liver Tumor Segmentation Benchmark",
        licence="CC BY-SA 4.0",
        attribution="Bilic et al. 2023, doi:10.1016/j.media.2022.102680",
    ),
)
"""What the slices were made from."""

CARD = """# Model card: {recipe.name} {recipe.version}

{recipe.description}. It marks the liver and tumours in it on axial slices of contrast-enhanced CT.

## What it is

- Members: {members}. Fused pixel by pixel as BLUE-Net does (exponent 1 for the liver, 0.0001 for
  tumours), inside one graph that also windows, resamples to {spacing} mm on {size}x{size} pixels,
  and brings the labels back to the slice's own pixels.
- Labels: 0 background, 1 liver, 2 tumour in the liver.

## What it learnt from

- Medical Segmentation Decathlon, Task03 Liver (Antonelli et al. 2022,
  doi:10.1038/s41467-022-30695-9) and LiTS (Bilic et al. 2023, doi:10.1016/j.media.2022.102680),
  both CC BY-SA 4.0: {train_slices} slices of {train_patients} patients and of
  {recipe.phantoms} computer-drawn phantoms. Patients in both count once.
- Many slices know only "liver including tumours"; those never teach that a tumour is liver.
- Recipe `{recipe.name}`, seed {recipe.seed} for the split; AdamW, one-cycle learning rate up to
  {recipe.learning_rate}, cross-entropy + Dice, batches of {recipe.batch.size} slices; the running
  average of the weights is kept. {recipe.remarks}

## How well it does

{held_out_slices} slices of {held_out_patients} patients it has never seen, slice by slice, without
the cleaning in 3-D that the engine adds. Dice, pooled over all pixels; the liver counts its
tumours, as LiTS does. The tumour figures rest on {tumour_patients} patients with drawn tumours.

| | liver | tumour |
|---|---|---|
{fusions}

| patient | liver | tumour |
|---|---|---|
{patients}

## What it is not for

- No medical device: not for diagnosis or treatment. A radiologist must look at every result.
- One source of data (LiTS): portal-venous abdominal CT of adults, most with liver disease. Good
  figures there do not prove that it travels. It was not tried on non-contrast or arterial series,
  on children, after large resections, or on MR.
- Tumours as dense as the liver are missed; lesions a few pixels wide often are. Cysts,
  perfusion defects and dilated bile ducts may be marked as tumour.
- The kind of tumour is not told.

## Licence

The weights are CC BY-SA 4.0, as the data asks; see LICENSE beside this file.
"""

LICENCE = """The weights in this folder are licensed under the Creative Commons
Attribution-ShareAlike 4.0 International licence (CC BY-SA 4.0),
https://creativecommons.org/licenses/by-sa/4.0/.

They were learnt from, and are to be attributed to:

- Medical Segmentation Decathlon, Task03 Liver. M. Antonelli et al., "The Medical Segmentation
  Decathlon", Nature Communications 13, 4128 (2022). CC BY-SA 4.0.
- LiTS. P. Bilic et al., "The Liver Tumor Segmentation Benchmark (LiTS)", Medical Image Analysis
  84, 102680 (2023). CC BY-SA 4.0.

Changes: slices were scaled to 256x256 pixels and windowed; networks were trained on them.
"""
