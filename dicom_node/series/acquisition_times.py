"""Times at which the slices of a series were acquired, and the passes that they fall into."""

import re
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from dicom_node.series.frames import Frame

PAUSE_S = 5.0
"""A spiral has no pause between slices, and a rotation of a sequential scan begins within seconds;
contrast phases are 10 s and more apart."""

DATES = {
    "AcquisitionTime": "AcquisitionDate",
    "ContentTime": "ContentDate",
    "ContrastBolusStartTime": "AcquisitionDate",
}
"""Attribute of a time to that of its date."""
TIME = re.compile(r"(\d{8})(\d{6})(\.\d{1,6})?")
"""Date and time (PS3.5 6.2), without the offset from UTC."""


def seconds_of(frame: Frame, keyword: str = "AcquisitionTime") -> float:
    """Return when a slice was acquired, in seconds from a fixed moment; NaN where that is unknown.

    Acquisition DateTime, the only time that Enhanced CT has, stands in for Acquisition Time.
    """
    time = frame.text(keyword)
    if not time and keyword == "AcquisitionTime":
        keyword, time = "AcquisitionDateTime", frame.text("AcquisitionDateTime")
    # Without a date, times of one day can still be compared. A DateTime brings its own.
    date = frame.text(DATES[keyword]) or "19000101" if keyword in DATES else ""
    found = TIME.match(f"{date}{time}")
    if found is None:
        return float("nan")
    try:
        moment = datetime.strptime(found[1] + found[2], "%Y%m%d%H%M%S")
    except ValueError:
        return float("nan")
    return (moment - datetime(1900, 1, 1)).total_seconds() + float(found[3] or 0)


def made_of(keyword: str) -> tuple[str, ...]:
    """Return the attributes that `seconds_of` reads for one."""
    stand_in = ("AcquisitionDateTime",) if keyword == "AcquisitionTime" else ()
    dates = (DATES[keyword],) if keyword in DATES else ()
    return (keyword, *stand_in, *dates)


def passes(frames: Sequence[Frame], keyword: str) -> list[str]:
    """Return the pass that each slice belongs to, by its first time of day; empty where unknown.

    A pass ends where nothing was acquired for `PAUSE_S`.
    """
    seconds = np.array([seconds_of(frame, keyword) for frame in frames])
    known = np.unique(seconds[~np.isnan(seconds)])
    if not len(known):
        return [""] * len(frames)
    # From minus infinity, so that the first time always begins a pass.
    firsts = known[np.diff(known, prepend=-np.inf) > PAUSE_S]
    return [_clock(firsts, each) for each in seconds]


def _clock(firsts: NDArray[np.float64], seconds: float) -> str:
    if np.isnan(seconds):
        return ""
    first = int(firsts[np.searchsorted(firsts, seconds, side="right") - 1]) % 86400
    return f"{first // 3600:02d}{first // 60 % 60:02d}{first % 60:02d}"
