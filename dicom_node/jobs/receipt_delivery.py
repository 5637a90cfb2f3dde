"""Receipts for a series that ended without a result, for the peers configured to get them."""

import logging
from collections.abc import Mapping
from pathlib import Path

from pydicom import dcmread

from dicom_node.error_location import unforeseen
from dicom_node.jobs.records import DeliveryTask, SeriesTask
from dicom_node.pipeline.outcome import Verdict
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

RECEIPTS = {
    Verdict.NOTHING_FOUND: Receipt.NOTHING,
    Verdict.NOT_SELECTED: Receipt.NOT_SELECTED,
    Verdict.REFUSED: Receipt.REFUSED,
}


def receipts(
    task: SeriesTask,
    ending: Receipt,
    reason: str,
    seg: Path,
    profiles: Mapping[str, Profile],
) -> tuple[DeliveryTask, ...]:
    """Write the receipt of a series beside where its SEG would lie; return its deliveries.

    A series of which no instance can be read has none: its patient is unknown.
    """
    peers = sorted(name for name, profile in profiles.items() if ending in profile.receipts)
    if not peers:
        return ()
    file = seg.with_suffix(f".{ITEM}.dcm")
    try:
        source = dcmread(task.paths[0], stop_before_pixels=True)
        write_durably(file, to_receipt(source, WORDS[ending], reason, task.digest))
    except Exception as error:  # whatever the headers lack; the job list has the reason anyway
        extra = {"action": "receipt", "series": task.series_uid}
        logger.warning("no receipt: %s", unforeseen(error), extra=extra)
        return ()
    return tuple(DeliveryTask(task.series_uid, peer, ITEM, file, kind=None) for peer in peers)
