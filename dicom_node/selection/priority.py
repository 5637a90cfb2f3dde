"""Recognise series that are segmented before all others.

A CT image does not state its priority: Requested Procedure Priority (0040,1003) belongs to the
worklist and seldom travels on. So an administrator also names the scanners of the emergency room
by the AE titles under which they call, or words in the descriptions.
"""

from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from dicom_node.attributes import UNREADABLE
from dicom_node.decoding.file_bounds import require_bounded_file
from dicom_node.selection.rules import DESCRIBED, PriorityRules, Rules
from dicom_node.selection.why_not import why_not_described

PRIORITIES = {"STAT", "HIGH"}
"""Of Requested Procedure Priority's values (PS3.3 C.4.11), those that will not wait."""


def is_urgent(paths: Sequence[Path], rules: PriorityRules) -> bool:
    """Return whether a series, given by its files, is urgent; what cannot be read is not."""
    try:
        # One instance stands for all: the answer decides on the queue, before anything is read.
        require_bounded_file(paths[0])
        header = dcmread(
            paths[0],
            stop_before_pixels=True,
            specific_tags=["RequestedProcedurePriority", *DESCRIBED],
        )
    except (OSError, InvalidDicomError, *UNREADABLE):
        return False  # its job will report what is wrong with it
    return asks_for_priority(header, rules)


def asks_for_priority(header: Dataset, rules: PriorityRules) -> bool:
    """Return whether an instance's own priority, its sender or its descriptions make it urgent."""
    priority = str(header.get("RequestedProcedurePriority") or "").strip().upper()
    sender = getattr(header, "file_meta", Dataset()).get("SendingApplicationEntityTitle")
    return (
        priority in PRIORITIES
        or str(sender or "").strip() in rules.calling
        or bool(rules.include and why_not_described([header], Rules(include=rules.include)) is None)
    )
