"""Process one series: read, segment, make the results, verify, write."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from dicom_node.errors import NothingFound
from dicom_node.logs import note, step
from dicom_node.pipeline.outcome import Outcome, Verdict, to_outcome
from dicom_node.pipeline.segmenter import SegmentationSetup
from dicom_node.results.attributes.making import Predecessor
from dicom_node.results.make import SeriesResult, encode_verified, make_html, make_others, make_seg
from dicom_node.results.objects import PICTURED, ObjectKind
from dicom_node.selection.why_not import exclusion_reason
from dicom_node.series.frame_of_reference import has_derived_frame_of_reference
from dicom_node.series.volume import read_series, to_volume
from engine.durable_files import write_durably
from engine.findings.contours import draw_contours
from engine.findings.measure import measure
from engine.findings.quality import check_quality
from engine.segmentation.segment import segment

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with how many slices are computed, and of how many."""


@dataclass(frozen=True)
class Origin:
    """Content that results are made of, and results that they take the place of."""

    digest: str = ""
    """`content_digest` of the series; empty where nobody took it."""
    predecessors: tuple[Predecessor, ...] = ()


def process(
    paths: Sequence[Path],
    target: Path,
    method: SegmentationSetup,
    *,
    series: str,
    progress: Progress | None = None,
    origin: Origin = Origin(),
) -> Outcome:
    """Segment the series kept in `paths`; only what was verified appears as `target` or beside it.

    Args:
        paths: the instances, in any order.
        target: file of the SEG.
        method: what computes, by which model, and for which series.
        series: Series Instance UID, for the log.
        progress: called with the slices computed so far.
        origin: digest of the series, and older results that the new ones take the place of.

    Raises:
        UnsupportedSeries, SegMismatch, EngineError: there is no SEG, and the message says why.
    """
    seconds: dict[str, float] = {}
    with step(logger, "read", series, seconds):
        sources = read_series(
            paths, derive_frame_of_reference=method.derive_frame_of_reference, pixels=False
        )
        if reason := exclusion_reason(sources, method.rules):
            return Outcome(Verdict.NOT_SELECTED, reason, slices=len(sources))
        volume = to_volume(sources)
        for source in sources:
            source.pop("PixelData", None)  # multi-frame: from here on headers do
    made = segment(volume, method.device, progress)
    note(logger, made.seconds, series, seconds)
    with step(logger, "measure", series, seconds):
        measured = measure(volume, made.label_map)
        quality = check_quality(made, measured)
    pictured = PICTURED & {item.kind for item in method.items}
    picture = draw_contours(volume, made.label_map) if pictured else None
    del volume
    algorithm, labels = method.algorithm, made.label_map
    found = SeriesResult(
        sources,
        algorithm,
        labels,
        measured,
        quality,
        picture,
        _remarks(sources),
        source_digest=origin.digest,
        predecessors=origin.predecessors,
    )
    with step(logger, "write", series, seconds):
        try:
            seg = make_seg(found)
        except NothingFound as error:
            return Outcome(Verdict.NOTHING_FOUND, str(error), slices=len(sources), seconds=seconds)
    with step(logger, "verify", series, seconds):
        write_durably(target, encode_verified(seg, found))
    with step(logger, "others", series, seconds):
        files = {}
        for item, file in make_others(method.items, found, seg):
            files[item.name] = item.file_beside(target)
            write_durably(files[item.name], file)
            if item.kind is ObjectKind.PDF:
                write_durably(files[item.name].with_suffix(".html"), make_html(found))
    return to_outcome(made, quality, target, seg, files, seconds)


def _remarks(sources: Sequence[Dataset]) -> list[str]:
    """Return what a reader of the SEG should know of its sources."""
    if has_derived_frame_of_reference(sources):
        return ["The source has no frame of reference; this one was derived from its series UID."]
    return []
