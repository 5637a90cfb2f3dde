"""Evaluation results as JSON."""

import json
import math
from dataclasses import asdict
from typing import Any

from trainer.evaluation.metrics.lesion_detection import FOUND_AT
from trainer.evaluation.metrics.scores import METRICS, PatientScores
from trainer.evaluation.metrics.summary import LesionFigures, Spread
from trainer.evaluation.run.evaluate import Evaluation, Judged

Record = dict[str, Any]


def to_json(evaluation: Evaluation) -> str:
    """Return everything as JSON; what does not exist is null."""
    record = {
        "about": dict(evaluation.about),
        "nsd_tolerance_mm": evaluation.tolerance_mm,
        "lesion_found_at": FOUND_AT,
        "methods": {each.name: to_record(each) for each in evaluation.methods},
    }
    # allow_nan=False: what `_nulls` missed raises, in place of a file that strict readers refuse.
    return json.dumps(_nulls(record), indent=2, allow_nan=False) + "\n"


def to_record(method: Judged) -> Record:
    """Return one method's figures; nan where there is none."""
    summary = method.summary
    return {
        "patients": summary.patients,
        "pooled_dice": {name: asdict(each) for name, each in summary.pooled_dice.items()},
        "mean": {
            name: {each.metric.key: _spread(each) for each in spreads}
            for name, spreads in summary.spreads.items()
        },
        "lesions": _lesions(summary.lesions) if summary.lesions else None,
        "per_patient": {each.patient: _patient(each) for each in method.patients},
    }


def _spread(spread: Spread) -> Record:
    low, high = spread.quartiles
    return {**asdict(spread.mean), "median": spread.median, "quartiles": [low, high]}


def _lesions(figures: LesionFigures) -> Record:
    return {
        "patients": figures.patients,
        "precision": asdict(figures.precision),
        "sizes": [asdict(each) for each in (*figures.by_size, figures.every)],
        "false_in_the_healthy": asdict(figures.healthy),
    }


def _patient(patient: PatientScores) -> Record:
    record: Record = {
        structure: {metric.key: metric.of(scores) for metric in METRICS}
        | {"true_ml": scores.true_ml, "found_ml": scores.found_ml}
        for structure, scores in patient.of.items()
    }
    if patient.lesions is not None:
        record["lesions"] = asdict(patient.lesions)
    return record


def _nulls(value: Any) -> Any:
    """Return the same with null for every number that is none."""
    if isinstance(value, dict):
        return {str(key): _nulls(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_nulls(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
