"""Rescale Slope and Intercept (PS3.3 C.11.1): numbers by which stored values become HU."""

from pydicom import Dataset

from dicom_node.attributes import UNREADABLE
from dicom_node.decoding.stream import BrokenStream

SLOPES = (1e-4, 1e4)
LARGEST_INTERCEPT = 1e6
"""Far beyond CT, whose slopes are near 1 and intercepts within a few thousand; within them, float32
is exact enough and nothing overflows."""


def rescale_of(header: Dataset) -> tuple[float, float]:
    """Return (slope, intercept) of a slice; (1, 0) where it has none.

    Raises:
        BrokenStream: one is no number, or none that makes Hounsfield units.
    """
    slope, intercept = (
        _number(header, "RescaleSlope", 1.0),
        _number(header, "RescaleIntercept", 0.0),
    )
    if not SLOPES[0] <= slope <= SLOPES[1]:
        raise BrokenStream(f"RescaleSlope is {slope:g}; CT has one from {SLOPES[0]:g} to 1e4")
    # Written so that NaN fails: DS has none (PS3.5 6.2), but float() reads the word.
    if not abs(intercept) <= LARGEST_INTERCEPT:
        raise BrokenStream(f"RescaleIntercept is {intercept:g}; CT has one of at most 1e6")
    return slope, intercept


def _number(header: Dataset, keyword: str, absent: float) -> float:
    try:
        value = header.get(keyword)
        return absent if value is None or value == "" else float(value)
    except UNREADABLE as error:
        raise BrokenStream(f"{keyword} is no number") from error
