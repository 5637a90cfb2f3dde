"""Measurements as plain values, for JSON and CSV files."""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from typing import Any

from engine.findings.certainty import Certainty, Probability, VolumeInterval
from engine.findings.measure import Lesion, Measurements, Region
from engine.findings.quality import Quality

COLUMNS = (
    *("structure", "number", "volume_ml", "mean_hu", "sd_hu", "longest_mm", "perpendicular_mm"),
    *("centre_left_mm", "centre_back_mm", "centre_head_mm"),
)
"""Of the CSV file; the centre is in DICOM's LPS frame, so NIfTI's has the first two negated."""
PROBABILITY = ("probability", "probability_low", "probability_high")
"""Further columns, where the model states how certain its results are."""


def to_values(
    measured: Measurements, quality: Quality, certainty: Certainty | None = None
) -> dict[str, Any]:
    """Return the figures of liver and lesions with the reasons for a review, as JSON's types.

    Where the model states how certain its results are, so do the figures: what it does not state of
    this result is null there.
    """
    return {
        "liver_ml": _rounded(measured.liver_ml),
        "tumour_ml": _rounded(measured.tumour_ml),
        "burden_percent": _rounded(measured.burden_percent),
        "structures": list(_rows(measured, certainty)),
        "review": list(quality.reasons),
        "domain_checked": quality.domain_checked,
        **(_certainty(certainty) if certainty else {}),
    }


def to_csv(measured: Measurements, certainty: Certainty | None = None) -> str:
    """Return one line for the liver, tumours included, and one for each lesion."""
    text = io.StringIO()
    columns = (*COLUMNS, *PROBABILITY) if certainty else COLUMNS
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(measured, certainty))
    return text.getvalue()


def _certainty(certainty: Certainty) -> dict[str, Any]:
    return {
        "liver_interval_ml": _ends(certainty.liver),
        "tumour_interval_ml": _ends(certainty.tumour),
        "certainty_notes": list(certainty.notes),
    }


def _ends(interval: VolumeInterval | None) -> list[float | None] | None:
    return [_rounded(interval.low_ml), _rounded(interval.high_ml)] if interval else None


def _rows(measured: Measurements, certainty: Certainty | None) -> Iterator[dict[str, Any]]:
    yield {
        "structure": "liver",
        "number": 0,
        # Density of the healthy part, but the volume of the whole liver.
        **_region(measured.liver),
        "volume_ml": _rounded(measured.liver_ml),
    }
    for lesion in measured.lesions:
        found = _probability(certainty.lesions.get(lesion.number)) if certainty else {}
        yield {**_lesion(lesion), **found}


def _probability(found: Probability | None) -> Mapping[str, float | None]:
    values = (found.value, found.low, found.high) if found else (math.nan,) * len(PROBABILITY)
    return {name: _rounded(value) for name, value in zip(PROBABILITY, values, strict=True)}


def _lesion(lesion: Lesion) -> dict[str, Any]:
    left, back, head = lesion.centre
    return {
        "structure": "tumour",
        "number": lesion.number,
        "volume_ml": _rounded(lesion.region.volume_ml),
        **_region(lesion.region),
        "longest_mm": _rounded(lesion.longest_mm),
        "perpendicular_mm": _rounded(lesion.perpendicular_mm),
        "centre_left_mm": _rounded(left),
        "centre_back_mm": _rounded(back),
        "centre_head_mm": _rounded(head),
    }


def _region(region: Region | None) -> dict[str, Any]:
    """Return the density; of the liver that of its healthy part."""
    if region is None:
        return {}
    return {"mean_hu": _rounded(region.mean_hu), "sd_hu": _rounded(region.sd_hu)}


def _rounded(value: float) -> float | None:
    # JSON has no NaN or infinity; Python would write them, and strict readers fail on the file.
    return round(value, 3) if math.isfinite(value) else None
