"""Receipts for a series, or a part of it, without a result, for peers configured to get them."""

import logging
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from pydicom import Dataset

from dicom_node.dicom_file import UNREADABLE_FILE, read_file
from dicom_node.error_location import unforeseen
from dicom_node.jobs.records import DeliveryTask, SeriesTask
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.results.objects import Profile, Receipt
from dicom_node.results.receipt import to_receipt
from engine.durable_files import write_durably

logger = logging.getLogger(__name__)

ITEM = "receipt"
"""Name of a receipt among the objects of a job."""

WORDS = {
    Receipt.NOTHING: "nothing found",
    Receipt.NOT_SELECTED: "not selected",
    Receipt.REFUSED: "refused",
    Receipt.FAILED: "failed",
}
"""Endings as the job list names them."""

PART = ""
"""In place of an ending, where only a part of the series has no result."""

RECEIPTS = {
    Verdict.NOTHING_FOUND: Receipt.NOTHING,
    Verdict.NOT_SELECTED: Receipt.NOT_SELECTED,
    Verdict.REFUSED: Receipt.REFUSED,
}


def outcome_receipts(
    task: SeriesTask, outcome: Outcome, seg: Path, profiles: Mapping[str, Profile]
) -> tuple[DeliveryTask, ...]:
    """Write the receipt of a series for all that has no result in it; return its deliveries.

    A series of several stacks has one at most, which names each stack without a result. A peer
    receives it that wants one for any of their endings.
    """
    endings = {RECEIPTS[each.verdict] for each in outcome.each if each.verdict in RECEIPTS}
    whole = RECEIPTS.get(outcome.verdict)
    verdict = WORDS[whole] if whole else PART
    return _receipts(task, endings, (verdict, outcome.reason), seg, profiles)


def failure_receipts(
    task: SeriesTask, reason: str, seg: Path, profiles: Mapping[str, Profile]
) -> tuple[DeliveryTask, ...]:
    """Write the receipt of a series whose work failed; return its deliveries."""
    words = WORDS[Receipt.FAILED], reason
    return _receipts(task, {Receipt.FAILED}, words, seg, profiles)


def _receipts(
    task: SeriesTask,
    endings: Set[Receipt],
    words: tuple[str, str],
    seg: Path,
    profiles: Mapping[str, Profile],
) -> tuple[DeliveryTask, ...]:
    """Write a receipt beside where the SEG lies, or would; return its deliveries.

    A series of which no instance can be read has none: its patient is unknown.
    """
    peers = sorted(name for name, profile in profiles.items() if endings & {*profile.receipts})
    if not peers:
        return ()
    file = seg.with_suffix(f".{ITEM}.dcm")
    try:
        write_durably(file, to_receipt(_readable(task.paths), *words, task.digest))
    except Exception as error:  # whatever the headers lack; the job list has the reason anyway
        extra = {"action": "receipt", "series": task.series_uid}
        logger.warning("no receipt: %s", unforeseen(error), extra=extra)
        return ()
    return tuple(DeliveryTask(task.series_uid, peer, ITEM, file, kind=None) for peer in peers)


def _readable(paths: Sequence[Path]) -> Dataset:
    """Return the header of the first instance that can be read; raise the error of the last."""
    for path in paths[:-1]:
        try:
            return read_file(path, stop_before_pixels=True)
        except UNREADABLE_FILE:
            continue
    return read_file(paths[-1], stop_before_pixels=True)
