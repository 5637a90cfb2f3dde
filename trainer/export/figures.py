"""Figures as the model's manifest states them, and as a row of a table."""

from collections.abc import Iterable, Mapping
from typing import Any

from engine.findings.overlap import Overlap
from engine.manifest import LEARNT_PATIENTS
from engine.model import Model
from trainer.evaluation.metrics.overlap import Figures
from trainer.training.ensemble import Cases
from trainer.training.fusion_choice import mean_dice

Compared = Mapping[str, Figures]
"""Name of a member or of a fusion to its figures on the same patients."""

COLUMNS = ("liver, pooled", "tumour, pooled", "liver, per patient", "tumour, per patient")
"""Names of the Dice figures in a row of `to_row`."""


def to_row(figures: Figures) -> tuple[str, ...]:
    """Return the four Dice that members and fusions are compared by, in words; see `COLUMNS`."""
    pooled = figures.pooled_liver, figures.pooled_tumour
    means = mean_dice(figures.liver), mean_dice(figures.tumour)
    return tuple(f"{dice:.3f}" for dice in (*pooled, *means))


def to_evaluation(
    figures: Compared, cases: Cases, fusion: str, before: Iterable[Model] = ()
) -> dict[str, Any]:
    """Return the manifest's evaluation: every variant, and the chosen one in full.

    Args:
        figures: of the held-out patients.
        cases: of the training.
        fusion: name of the chosen one.
        before: models whose weights or answers were learnt from, and so their patients.
    """
    learnt = {*cases.split.train, *cases.validation.patient.tolist()}
    chosen = figures[fusion]
    return {
        "held_out_patients": list(cases.split.held_out),
        "trained_patients": len(cases.split.train),
        LEARNT_PATIENTS: sorted(learnt.union(*(each.manifest.learnt_patients for each in before))),
        "slices": len(cases.held_out),
        "tumour_patients": chosen.tumour_patients,
        "fusion": fusion,
        "pooled_dice": {name: _pooled(each) for name, each in figures.items()},
        "mean_dice": {name: _means(each) for name, each in figures.items()},
        "patient_dice": {
            "liver": _dice(chosen.liver),
            "tumour": _dice(chosen.tumour),
        },
    }


def _pooled(figures: Figures) -> dict[str, float]:
    return {
        "liver": round(figures.pooled_liver, 4),
        "tumour": round(figures.pooled_tumour, 4),
    }


def _means(figures: Figures) -> dict[str, float]:
    return {
        "liver": round(mean_dice(figures.liver), 4),
        "tumour": round(mean_dice(figures.tumour), 4),
    }


def _dice(overlaps: Mapping[str, Overlap]) -> dict[str, float]:
    """Dice of every patient who has the structure; the others are left out."""
    return {name: round(each.dice, 4) for name, each in overlaps.items() if each.true}
