"""A person who corrects a result in OHIF: the brush, the menu that saves, and what was painted."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread

from tests.system.browser import (
    DRAWN,
    IMAGE,
    LISTED,
    MORE_THAN,
    SEGMENTS,
    decoded_voxels,
    open_result,
)
from tests.waiting import wait_until

Painted = Mapping[str, NDArray[np.uint8]]
"""Segment numbers over each instance, row by row, as the viewer has them."""


def open_for_correction(page: Any, link: str) -> None:
    """Open a link for correction, and return once the segments are listed over their image."""
    open_result(page, link)
    page.wait_for_function(f"({LISTED})().length > 1")
    page.wait_for_function(f"({IMAGE})().drawn")


def stroke(page: Any, segment: int, start: tuple[int, int], step: tuple[int, int]) -> None:
    """Paint a segment with the mouse, from one point of the page on, until the viewer has it."""
    before = int(counts(decoded_voxels(page))[segment])

    def press_and_draw() -> bool:
        # Not by the mouse: the list is drawn anew again and again while OHIF measures.
        page.locator("[data-cy='data-row']").nth(segment - 1).dispatch_event("click")
        page.mouse.move(*start)
        page.mouse.down()
        page.mouse.move(start[0] + step[0], start[1] + step[1])
        page.mouse.move(start[0] + 2 * step[0], start[1] + 2 * step[1])
        painted = page.evaluate(MORE_THAN, [segment, before])
        page.mouse.up()
        return bool(painted)

    # Again: OHIF goes back to the segment before, once it has measured what was painted in it.
    wait_until(press_and_draw, seconds=300, what=f"segment {segment} has grown")


def save(page: Any) -> tuple[Painted, str]:
    """Export as DICOM SEG; return what was shown then, and the series that it was saved as.

    The page opens what it has saved.
    """
    page.locator("[data-cy='segmentation-collapsed-more-btn-Labelmap']").click()
    page.get_by_role("menuitem", name="Export").hover()
    page.get_by_role("menuitem", name="DICOM SEG").click()
    page.get_by_role("button", name="Save").wait_for()
    # Here, as nothing can be painted beside the dialog.
    painted, before = decoded_voxels(page), shown_series(page)
    page.get_by_role("button", name="Save").click()
    page.wait_for_url(lambda url: series_in(url) != before, wait_until="commit")
    page.wait_for_function(SEGMENTS)
    page.wait_for_function(DRAWN)
    return painted, shown_series(page)


def shown_series(page: Any) -> str:
    """The series that the page was opened with."""
    return series_in(page.url)


def series_in(url: str) -> str:
    return parse_qs(urlparse(url).query)["initialSeriesInstanceUID"][0]


def counts(painted: Painted) -> NDArray[np.int64]:
    """Voxels of each segment number."""
    return sum(np.bincount(each, minlength=256) for each in painted.values())


def without_empty(painted: Painted) -> dict[str, bytes]:
    """The slices on which something is drawn; a SEG holds no others."""
    return {uid: each.tobytes() for uid, each in painted.items() if each.any()}


def stacked(painted: Painted, files: Sequence[Path]) -> NDArray[np.uint8]:
    """Segment numbers as one array from foot to head, by the headers of the series alone."""
    headers = [dcmread(file, stop_before_pixels=True) for file in files]
    headers.sort(key=lambda each: float(each.ImagePositionPatient[2]))
    assert all(list(each.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0] for each in headers)
    empty = np.zeros(headers[0].Rows * headers[0].Columns, np.uint8)
    slices = [painted.get(each.SOPInstanceUID, empty) for each in headers]
    return np.reshape(slices, (len(headers), headers[0].Rows, headers[0].Columns))
