"""Findings in one volume, whatever kind of file it came from: segment, measure, judge, draw."""

import logging
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, replace

from PIL import Image

from dicom_node.logs import note, step
from engine.device import Device
from engine.findings.certainty import Certainty, state_certainty
from engine.findings.contours import draw_contours
from engine.findings.domain import outside_of
from engine.findings.measure import Measurements, measure
from engine.findings.quality import Quality, check_quality
from engine.manifest import Calibration, Domain
from engine.segmentation.segment import Segmentation, segment
from engine.volume import Volume

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with how many slices are computed, and of how many."""


@dataclass(frozen=True, eq=False)
class Findings:
    """Labels of a volume, their measurements and their plausibility."""

    made: Segmentation
    measured: Measurements
    quality: Quality
    picture: Image.Image | None
    """Contours over a few slices, where they were asked for."""
    certainty: Certainty | None = None
    """None without liver, or where the model states nothing on that."""


def find(
    volume: Volume,
    device: Device,
    *,
    series: str,
    progress: Progress | None,
    seconds: MutableMapping[str, float],
    pictured: bool,
    members: int = 2,
    domain: Domain | None = None,
    calibration: Calibration | None = None,
) -> Findings:
    """Segment a volume and measure what was found; notes the seconds of each stage.

    Args:
        volume: to segment.
        device: that segments it.
        series: Series Instance UID, for the log.
        progress: called with the slices computed so far.
        seconds: takes the seconds of each stage.
        pictured: whether contours are drawn.
        members: networks of the model.
        domain: what the scans were like that the model learnt from, if it states that.
        calibration: how certain the model's results are, if it states that.

    Raises:
        DeviceFailed: the device failed.
    """
    made = segment(volume, device, progress)
    if members < 2:  # its agreement with itself would read as certainty
        made = replace(made, agreement={})
    note(logger, made.seconds, series, seconds)
    with step(logger, "measure", series, seconds):
        measured = measure(volume, made.label_map)
        outside = outside_of(domain, volume, made.label_map) if domain else None
        quality = check_quality(made, measured, outside, calibration)
        certainty = None
        if calibration and measured.liver_ml:
            certainty = state_certainty(calibration, made, measured, quality)
    picture = draw_contours(volume, made.label_map) if pictured else None
    return Findings(made, measured, quality, picture, certainty)
