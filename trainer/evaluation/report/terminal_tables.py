"""Evaluation results as tables on the terminal."""

import math

from rich.console import Console
from rich.table import Table

from trainer.evaluation.metrics.bootstrap import Estimate
from trainer.evaluation.metrics.exam import Structure
from trainer.evaluation.metrics.lesion_detection import FOUND_AT, WELL_FOUND_AT
from trainer.evaluation.metrics.scores import METRICS, PatientScores
from trainer.evaluation.metrics.summary import LesionFigures
from trainer.evaluation.run.evaluate import Evaluation, Judged


def show(evaluation: Evaluation, console: Console) -> None:
    """Print every method's figures; per patient where there is one method only."""
    for what, said in evaluation.about.items():
        console.print(f"{what}: {said}", markup=False, highlight=False)
    for structure in Structure:
        if (table := _figures(evaluation, structure)) is not None:
            console.print(table)
    for method in evaluation.methods:
        if method.summary.lesions is not None:
            console.print(_lesions(method.name, method.summary.lesions))
    if len(evaluation.methods) == 1:
        console.print(_patients(evaluation.methods[0]))


def number(value: float, digits: int = 3) -> str:
    """Return a figure as people read it; nothing where there is none."""
    return "–" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"  # no -0.0


def interval(estimate: Estimate, digits: int = 3) -> str:
    """Return a figure with its confidence interval."""
    if math.isnan(estimate.low):
        return number(estimate.value, digits)
    low, high = number(estimate.low, digits), number(estimate.high, digits)
    return f"{number(estimate.value, digits)} ({low} to {high})"


def _figures(evaluation: Evaluation, structure: Structure) -> Table | None:
    methods = [each for each in evaluation.methods if structure in each.summary.spreads]
    if not methods:
        return None
    whose = " with its tumours" if structure is Structure.LIVER else ", patients who have one"
    title = f"{structure.capitalize()}{whose}: mean (95 % interval), patients"
    table = Table("", *(each.name for each in methods), title=title)
    pooled = (each.summary.pooled_dice[structure] for each in methods)
    table.add_row("Dice, pooled over all", *(_cell(each, 3) for each in pooled))
    for index, metric in enumerate(METRICS):
        digits = 1 if metric.unit else 3
        means = (each.summary.spreads[structure][index].mean for each in methods)
        table.add_row(f"{metric.name} {metric.unit}".strip(), *(_cell(m, digits) for m in means))
    return table


def _cell(estimate: Estimate, digits: int) -> str:
    return f"{interval(estimate, digits)}, {estimate.patients}"


def _lesions(name: str, figures: LesionFigures) -> Table:
    title = f"Lesions, {name}; patients whose tumours were drawn or looked for: {figures.patients}"
    columns = ("lesions", "found", f"recall, {FOUND_AT:.0%} covered", f"{WELL_FOUND_AT:.0%}")
    table = Table("", *columns, title=title)
    for each in (*figures.by_size, figures.every):
        halves = interval(each.recall), interval(each.recall_half)
        table.add_row(each.size, str(each.lesions), str(each.found), *halves)
    table.add_row("precision", "", "", interval(figures.precision), "")
    healthy = figures.healthy
    if healthy.patients:
        ml = "" if math.isnan(healthy.ml) else f", {healthy.ml:.2f} ml"
        said = f"{healthy.lesions}{ml}; patients: {healthy.patients}"
        table.add_row("false marks, no tumour drawn", said, "", "", "")
    return table


def _patients(method: Judged) -> Table:
    columns = ("liver Dice", "NSD", "HD95 mm", "error ml", "tumour Dice", "lesions found", "false")
    table = Table("patient", *columns, title=method.name)
    for each in method.patients:
        table.add_row(each.patient, *_liver(each), *_tumour(each))
    return table


def _liver(patient: PatientScores) -> tuple[str, ...]:
    scores = patient.of.get(Structure.LIVER)
    if scores is None:
        return "not drawn", "", "", ""
    return (
        number(scores.overlap.dice),
        number(scores.nsd),
        number(scores.hd95_mm, 1),
        number(scores.volume_error_ml, 1),
    )


def _tumour(patient: PatientScores) -> tuple[str, ...]:
    lesions = patient.lesions
    if lesions is None:
        return "not drawn", "", ""
    found = sum(each.covered >= FOUND_AT for each in lesions.drawn)
    false = sum(each.covered < FOUND_AT for each in lesions.found)
    dice = number(patient.of[Structure.TUMOUR].overlap.dice) if patient.has_tumour else "none"
    return dice, f"{found} of {len(lesions.drawn)}", str(false)
