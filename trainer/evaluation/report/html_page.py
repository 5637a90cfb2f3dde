"""Evaluation results as one page of HTML."""

import math
from collections.abc import Sequence
from typing import Any

from trainer.evaluation.metrics.bootstrap import Estimate
from trainer.evaluation.metrics.exam import Structure
from trainer.evaluation.metrics.lesion_detection import FOUND_AT
from trainer.evaluation.metrics.scores import METRICS, PatientScores
from trainer.evaluation.metrics.summary import LesionFigures
from trainer.evaluation.report import plots
from trainer.evaluation.report.film_strips import strip
from trainer.evaluation.report.terminal_tables import number
from trainer.evaluation.run.evaluate import Evaluation, Judged
from trainer.evaluation.run.films import SIDE
from trainer.pages import render

Content = dict[str, Any]


def to_html(evaluation: Evaluation) -> str:
    """Return the page; it needs nothing beside itself."""
    methods = evaluation.methods
    return render(
        "evaluation.html",
        title=_title(methods),
        about=evaluation.about,
        tolerance=f"{evaluation.tolerance_mm:g}",
        tables=[table for each in Structure if (table := _table(methods, each)) is not None],
        curve=_curve(evaluation) if len(methods) > 1 else None,
        lesions=[
            _lesions(each, each.summary.lesions)
            for each in methods
            if each.summary.lesions is not None
        ],
        boxes=_boxes(methods),
        keys=plots.keys(),
        cases=[group for each in methods for group in _cases(each)],
        films=[_films(each) for each in methods if each.films],
        side=SIDE,
        patients=[_patients(each) for each in methods],
    )


def _title(methods: Sequence[Judged]) -> str:
    if len(methods) > 3:
        return f"How well {len(methods)} methods marked"
    return f"How well {', '.join(each.name for each in methods)} marked"


def _estimate(estimate: Estimate, digits: int = 3) -> Content:
    bounds = ""
    if not math.isnan(estimate.low):
        bounds = f"({number(estimate.low, digits)} to {number(estimate.high, digits)})"
    return {
        "value": number(estimate.value, digits),
        "bounds": bounds,
        "patients": estimate.patients,
    }


def _table(methods: Sequence[Judged], structure: Structure) -> Content | None:
    having = [each for each in methods if structure in each.summary.spreads]
    if not having:
        return None
    pooled = [_estimate(each.summary.pooled_dice[structure]) for each in having]
    rows = [{"name": "Dice, pooled", "cells": pooled}]
    for index, metric in enumerate(METRICS):
        means = [each.summary.spreads[structure][index].mean for each in having]
        if any(each.patients for each in means):
            # Millimetres and millilitres with one digit; parts of 1 with three.
            digits = 1 if metric.unit else 3
            rows.append(
                {
                    "name": f"{metric.name}{metric.unit and f', {metric.unit}'}",
                    "cells": [_estimate(each, digits) for each in means],
                }
            )
    whose = "with its tumours" if structure is Structure.LIVER else "of the patients who have one"
    return {
        "title": f"{structure.capitalize()} {whose}",
        "methods": [each.name for each in having],
        "rows": rows,
    }


def _curve(evaluation: Evaluation) -> Content:
    known = all(each.name in evaluation.learnt_from for each in evaluation.methods)
    return {
        "title": "Learning curve" if known else "Side by side",
        "src": plots.curve(evaluation.methods, evaluation.learnt_from),
    }


def _lesions(method: Judged, figures: LesionFigures) -> Content:
    healthy = figures.healthy
    ml = "" if math.isnan(healthy.ml) else f", {healthy.ml:.2f} ml in all"
    slices = "" if method.whole else " Pieces on single slices count, as slices have no neighbours."
    return {
        "method": method.name,
        "note": "Patients whose tumours were drawn, or looked for and not found: "
        f"{figures.patients}.{slices}",
        "rows": [
            {
                "size": each.size,
                "lesions": each.lesions,
                "found": each.found,
                "recall": _estimate(each.recall),
                "recall_half": _estimate(each.recall_half),
            }
            for each in (*figures.by_size, figures.every)
        ],
        "precision": _estimate(figures.precision),
        "healthy": f"False marks in patients without any tumour ({healthy.patients}): "
        f"{healthy.lesions}{ml}."
        if healthy.patients
        else "",
    }


def _boxes(methods: Sequence[Judged]) -> list[Content]:
    return [
        {"title": structure.capitalize(), "src": plots.boxes(methods, structure)}
        for structure in Structure
        if any(structure in each.summary.spreads for each in methods)
    ]


def _cases(method: Judged) -> list[Content]:
    """Return the best, the median and the worst case of each structure, and a false mark."""
    groups = []
    for structure in Structure:
        pictures = [
            {"src": plots.drawing(method.sketches[patient.patient, structure]), "caption": caption}
            for caption, patient in _chosen(method, structure)
        ]
        if pictures:
            groups.append(
                {"title": f"{structure.capitalize()}: {method.name}", "pictures": pictures}
            )
    return groups


def _chosen(method: Judged, structure: Structure) -> list[tuple[str, PatientScores]]:
    having = [each for each in method.patients if _has(each, structure)]
    ranked = sorted(having, key=lambda each: -each.of[structure].overlap.dice)
    # With one or two patients these are the same place, which is shown once.
    places = {"Best": 0, "Median": len(ranked) // 2, "Worst": len(ranked) - 1}
    chosen = {}
    for name, place in places.items():
        if ranked and place not in chosen:
            patient = ranked[place]
            dice = number(patient.of[structure].overlap.dice)
            first = f"{name}: " if len(ranked) > 1 else ""
            last = "" if Structure.TUMOUR in patient.of else "; tumours were not drawn"
            chosen[place] = (f"{first}{patient.patient}, Dice {dice}{last}", patient)
    return [*chosen.values(), *_false(method, structure)]


def _has(patient: PatientScores, structure: Structure) -> bool:
    return structure in patient.of and patient.of[structure].overlap.true > 0


def _false(method: Judged, structure: Structure) -> list[tuple[str, PatientScores]]:
    """Return the patient without tumour in whom most was marked."""
    healthy = [
        each
        for each in method.patients
        if structure in each.of
        and not _has(each, structure)
        and each.of[structure].overlap.predicted
    ]
    # Every patient has a liver: where none is drawn, marking one is no error.
    if structure is Structure.LIVER or not healthy:
        return []
    worst = max(healthy, key=lambda each: each.of[structure].overlap.predicted)
    return [(f"False mark: {worst.patient}, who has no tumour", worst)]


def _films(method: Judged) -> Content:
    """Return every patient's slices, those whose liver was marked worst first."""
    return {
        "method": method.name,
        "patients": [
            {
                "name": each.patient,
                "dice": _liver_dice(each),
                "frames": len(method.films[each.patient].grey),
                "src": strip(method.films[each.patient]),
            }
            for each in sorted(method.patients, key=_liver_dice)
            if each.patient in method.films
        ],
    }


def _liver_dice(patient: PatientScores) -> str:
    """Return the Dice as text, which sorts as the number does; nothing where no liver is drawn."""
    has = _has(patient, Structure.LIVER)
    return number(patient.of[Structure.LIVER].overlap.dice) if has else ""


def _patients(method: Judged) -> Content:
    columns = [(structure, metric) for structure in Structure for metric in METRICS]
    rows = [[each.patient, *_figures(each), *_counts(each)] for each in method.patients]
    # Columns that nobody has a figure for are left out; row[0] is the name.
    used = [i for i in range(len(columns)) if any(row[i + 1] != "–" for row in rows)]
    shown = [columns[i] for i in used]
    groups = [(each, sum(one is each for one, _ in shown)) for each in Structure]
    return {
        "method": method.name,
        "groups": [(each, count) for each, count in groups if count],
        "columns": [f"{metric.short} {metric.unit}".strip() for _, metric in shown],
        "rows": [[row[0], *(row[i + 1] for i in used), *row[-2:]] for row in rows],
    }


def _figures(patient: PatientScores) -> list[str]:
    return [
        number(metric.of(patient.of[structure]), 1 if metric.unit else 3)
        if _has(patient, structure)
        else "–"
        for structure in Structure
        for metric in METRICS
    ]


def _counts(patient: PatientScores) -> tuple[str, str]:
    lesions = patient.lesions
    if lesions is None:
        return "not drawn", ""
    found = sum(each.covered >= FOUND_AT for each in lesions.drawn)
    false = sum(each.covered < FOUND_AT for each in lesions.found)
    return f"{found} of {len(lesions.drawn)}", str(false)
