"""Whether members that learnt on from a model are better than it on patients neither has seen."""

import math
from collections.abc import Mapping
from statistics import fmean

from engine.findings.overlap import Overlap
from trainer.evaluation.metrics.overlap import Figures
from trainer.patient_counts import patients


def verdict(own: Figures, before: Figures, name: str, before_name: str) -> str:
    """Return one sentence: both mean Dice, on how many patients, and which is higher.

    Liver and tumour count alike; a patient counts for the structures that were drawn.
    """
    ours, theirs = mean_dice(own), mean_dice(before)
    count = len(own.liver)
    text = f"{name} {_summary(own)}, {before_name} {_summary(before)}"
    if math.isnan(ours) or math.isnan(theirs):
        return f"{text}: nothing was drawn on the {patients(count)} held out, so none is better"
    better = ours > theirs
    wins = sum(_patient(own, each) > _patient(before, each) for each in own.liver)
    return (
        f"{name} {'beats' if better else 'does not beat'} {before_name} on {patients(count)} "
        f"held out: {text}; it is better in {wins} of {count}"
    )


def mean_dice(figures: Figures) -> float:
    """Return the mean Dice of the patients, liver and tumour counting alike; nan if none."""
    means = [_mean(each) for each in (figures.liver, figures.tumour)]
    known = [each for each in means if not math.isnan(each)]
    return fmean(known) if known else math.nan


def merged(parts: list[Figures]) -> Figures:
    """Return the figures of disjoint groups of patients as those of one."""
    liver: dict[str, Overlap] = {}
    tumour: dict[str, Overlap] = {}
    for part in parts:
        liver |= part.liver
        tumour |= part.tumour
    return Figures(liver, tumour)


def _mean(overlaps: Mapping[str, Overlap]) -> float:
    dice = [each.dice for each in overlaps.values() if each.true]
    return fmean(dice) if dice else math.nan


def _patient(figures: Figures, patient: str) -> float:
    parts = [each.get(patient) for each in (figures.liver, figures.tumour)]
    dice = [each.dice for each in parts if each is not None and each.true]
    return fmean(dice) if dice else 0.0


def _summary(figures: Figures) -> str:
    liver, tumour = (_mean(each) for each in (figures.liver, figures.tumour))
    ill = figures.tumour_patients
    of_tumour = f", tumour {tumour:.3f} ({patients(ill)})" if ill else ""
    return f"liver {liver:.3f}{of_tumour}"
