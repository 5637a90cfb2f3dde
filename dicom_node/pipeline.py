"""What the node does to one series, on one screen."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from dicom_node.errors import NothingFound
from dicom_node.frame_of_reference import has_derived_frame_of_reference
from dicom_node.logs import note, step
from dicom_node.outcome import Outcome, Verdict, to_outcome
from dicom_node.seg import Algorithm, encode, to_seg
from dicom_node.selection import Rules, why_not
from dicom_node.series import read_series, to_volume
from dicom_node.spool import write_durably
from dicom_node.uids import result_uids
from dicom_node.verify import verify_seg
from engine.devices import Device
from engine.segment import segment

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with how many slices are computed, and of how many."""


@dataclass(frozen=True)
class Method:
    """How a series becomes a SEG."""

    device: Device
    algorithm: Algorithm
    rules: Rules
    derive_frame_of_reference: bool = False
    """Give a series without a frame of reference one made from its UID; the SEG says so."""


def process(
    paths: Sequence[Path],
    target: Path,
    method: Method,
    *,
    series: str,
    progress: Progress | None = None,
) -> Outcome:
    """Segment the series kept in `paths`; only a SEG that was verified appears as `target`.

    Args:
        paths: the instances, in any order.
        target: file of the SEG.
        method: what computes, by which model, and for which series.
        series: Series Instance UID, for the log.
        progress: told how far the device is.

    Raises:
        UnsupportedSeries, SegMismatch, EngineError: there is no SEG, and the message says why.
    """
    seconds: dict[str, float] = {}
    with step(logger, "read", series, seconds):
        sources = read_series(paths, derive_frame_of_reference=method.derive_frame_of_reference)
        if reason := why_not(sources, method.rules):
            return Outcome(Verdict.NOT_SELECTED, reason, slices=len(sources))
        volume = to_volume(sources)
        for source in sources:
            source.pop("PixelData", None)  # half of the memory; from here on headers do
    made = segment(volume, method.device, progress)
    del volume
    note(logger, made.seconds, series, seconds)
    with step(logger, "write", series, seconds):
        uids = result_uids((str(each.SOPInstanceUID) for each in sources), method.algorithm.digest)
        try:
            seg = to_seg(
                made.label_map,
                sources,
                algorithm=method.algorithm,
                uids=uids,
                remarks=_remarks(sources),
            )
        except NothingFound as error:
            return Outcome(Verdict.NOTHING_FOUND, str(error), slices=len(sources), seconds=seconds)
        file = encode(seg)
    with step(logger, "verify", series, seconds):
        verify_seg(file, sources, made.label_map)
        write_durably(target, file)
    return to_outcome(made, target, uids, seconds)


def _remarks(sources: Sequence[Dataset]) -> list[str]:
    """Return what a reader of the SEG should know of its sources."""
    if has_derived_frame_of_reference(sources):
        return ["The source has no frame of reference; this one was derived from its series UID."]
    return []
