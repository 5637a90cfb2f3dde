"""Findings of a check of labelled data, as JSON."""

import math
from typing import Any

from trainer.datasets.checks.check import Checked, Summary
from trainer.datasets.checks.facts import Facts

Record = dict[str, Any]


def to_json(checked: Checked) -> Record:
    """Return the summary, what is broken or double, and the facts of each series, in this order."""
    return {
        "summary": vars(Summary.of(checked)),
        "broken": [
            {"source": found.source, "name": found.name, "place": str(found.place), "why": why}
            for found, why in checked.broken
        ],
        "same_slices": [
            {"series": [one.name, two.name], "correlation": how} for one, two, how in checked.twins
        ],
        "same_pixels": [[one.name, two.name] for one, two in checked.copies],
        "series": [_facts(each) for each in checked.facts],
    }


def _facts(facts: Facts) -> Record:
    between_mm, pixel_mm = facts.spacing_mm
    return {
        "source": facts.source,
        "name": facts.name,
        "patient": facts.patient,
        "slices": facts.slices,
        "liver_slices": facts.liver_slices,
        "tumour_slices": facts.tumour_slices,
        "slice_distance_mm": _known(between_mm),
        "pixel_mm": _known(pixel_mm),
        "hu": list(facts.hu),
        "liver_ml": _known(facts.liver_ml),
        "tumour_ml": _known(facts.tumour_ml),
        "doubts": list(facts.doubts),
    }


def _known(value: float) -> float | None:
    """Return a figure; null in JSON where it is unknown."""
    return None if math.isnan(value) else float(value)
