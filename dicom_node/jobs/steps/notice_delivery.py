"""Notices to peers configured to get them: of a series without a result, of old results."""

import logging
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from pydicom import Dataset

from dicom_node.dicom_file import UNREADABLE_FILE, read_file
from dicom_node.error_location import unforeseen
from dicom_node.errors import lacks_room
from dicom_node.jobs.records import DeliveryTask, SeriesTask
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.pipeline.result_files import keep_or_write
from dicom_node.results.attributes.number_register import NumberRegister
from dicom_node.results.notices.receipt import to_receipt
from dicom_node.results.notices.rejection import to_rejections
from dicom_node.results.objects import ObjectKind, Profile, Receipt, Superseded

logger = logging.getLogger(__name__)

ITEM = "receipt"
"""Name of a receipt among the objects of a job."""

WITHDRAWAL = "superseded"
"""Begins the name of a note on superseded results among the objects of a job."""

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
    task: SeriesTask,
    outcome: Outcome,
    seg: Path,
    profiles: Mapping[str, Profile],
    numbers: NumberRegister,
) -> tuple[DeliveryTask, ...]:
    """Write the receipt of a series for all that has no result in it; return its deliveries.

    A series of several stacks has one at most, which names each stack without a result. A peer
    receives it that wants one for any of their endings.
    """
    endings = {RECEIPTS[each.verdict] for each in outcome.each if each.verdict in RECEIPTS}
    whole = RECEIPTS.get(outcome.verdict)
    verdict = WORDS[whole] if whole else PART
    return _receipts(task, endings, (verdict, outcome.reason), seg, profiles, numbers)


def failure_receipts(
    task: SeriesTask,
    reason: str,
    seg: Path,
    profiles: Mapping[str, Profile],
    numbers: NumberRegister,
) -> tuple[DeliveryTask, ...]:
    """Write the receipt of a series whose work failed; return its deliveries."""
    words = WORDS[Receipt.FAILED], reason
    return _receipts(task, {Receipt.FAILED}, words, seg, profiles, numbers)


def _receipts(
    task: SeriesTask,
    endings: Set[Receipt],
    words: tuple[str, str],
    seg: Path,
    profiles: Mapping[str, Profile],
    numbers: NumberRegister,
) -> tuple[DeliveryTask, ...]:
    """Write a receipt beside where the SEG lies, or would; return its deliveries.

    A series of which no instance can be read has none: its patient is unknown.
    """
    peers = sorted(name for name, profile in profiles.items() if endings & {*profile.receipts})
    if not peers:
        return ()
    file = seg.with_suffix(f".{ITEM}.dcm")
    try:
        source = _readable(task.paths)
        keep_or_write(file, to_receipt(source, *words, task.digest, numbers))
    except Exception as error:
        if lacks_room(error):  # the worker waits for room
            raise
        # Whatever the headers lack: a job must not fail for want of a receipt, and the job list has
        # its reason anyway.
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


def withdrawals(
    results: Sequence[DeliveryTask],
    superseded: Sequence[Outcome],
    seg: Path,
    profiles: Mapping[str, Profile],
    numbers: NumberRegister,
) -> tuple[DeliveryTask, ...]:
    """Write what withdraws superseded results beside a SEG; return the deliveries to make.

    Each peer is sent notes on those kinds of objects alone that it receives, and after the new
    results. Without new results the old ones stay.

    Args:
        results: deliveries of the new results.
        superseded: outcomes of the older jobs on the series.
        seg: where the new SEG lies.
        profiles: what each peer receives.
        numbers: Series Numbers in use.
    """
    # The same work makes the same UIDs: results must not withdraw themselves.
    made = {str(_header(each.file).SOPInstanceUID) for each in results} if superseded else set()
    tasks: list[DeliveryTask] = []
    for peer, profile in sorted(profiles.items()):
        own = [each for each in results if each.peer == peer]
        if profile.superseded is Superseded.KEEP or not own:
            continue
        # The old results go once the new SEG is there, or a viewer would show neither.
        last = next((each for each in own if each.kind is ObjectKind.SEG), own[0])
        old = [each for each in _sent(superseded, profile) if str(each.SOPInstanceUID) not in made]
        for number, note in enumerate(to_rejections(old, numbers), start=1):
            item = f"{WITHDRAWAL}-{number}"
            file = seg.with_suffix(f".{WITHDRAWAL}-{len(tasks) + 1}.dcm")
            keep_or_write(file, note)
            task = DeliveryTask(own[0].series_uid, peer, item, file, kind=None, after=last.item)
            tasks.append(task)
    return tuple(tasks)


def _sent(superseded: Sequence[Outcome], profile: Profile) -> Iterator[Dataset]:
    """Yield the headers of the objects of older jobs that a peer with this profile was sent."""
    segs = [stack.seg for outcome in superseded for stack in outcome.each if stack.seg]
    for file in (item.file_beside(seg) for seg in segs for item in profile.items):
        if file.exists():
            yield _header(file)


def _header(file: Path) -> Dataset:
    return read_file(file, stop_before_pixels=True)
