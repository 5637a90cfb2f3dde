"""Measurements as plain values, for JSON and CSV files."""

import csv
import io
import math
from collections.abc import Iterator
from typing import Any

from engine.findings.measure import Lesion, Measurements, Region
from engine.findings.quality import Quality

COLUMNS = (
    *("structure", "number", "volume_ml", "mean_hu", "sd_hu", "longest_mm", "perpendicular_mm"),
    *("centre_left_mm", "centre_back_mm", "centre_head_mm"),
)
"""Of the CSV file; the centre is in DICOM's LPS frame, so NIfTI's has the first two negated."""


def to_values(measured: Measurements, quality: Quality) -> dict[str, Any]:
    """Return the figures of liver and lesions with the reasons for a review, as JSON's types."""
    return {
        "liver_ml": _rounded(measured.liver_ml),
        "tumour_ml": _rounded(measured.tumour_ml),
        "burden_percent": _rounded(measured.burden_percent),
        "structures": list(_rows(measured)),
        "review": list(quality.reasons),
        "domain_checked": quality.domain_checked,
    }


def to_csv(measured: Measurements) -> str:
    """Return one line for the liver, tumours included, and one for each lesion."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(measured))
    return text.getvalue()


def _rows(measured: Measurements) -> Iterator[dict[str, Any]]:
    yield {
        "structure": "liver",
        "number": 0,
        # Density of the healthy part, but the volume of the whole liver.
        **_region(measured.liver),
        "volume_ml": _rounded(measured.liver_ml),
    }
    yield from map(_lesion, measured.lesions)


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
