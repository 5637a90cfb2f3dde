"""Answers to STOW-RS (PS3.18 10.5.3), read without trust: many are not the data set they should be.

Servers answer an array, null, `{"jobId": …}`, a page for people, or nothing at all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import requests

from dicom_node.net.status import COERCED, DUPLICATE_INSTANCE

FAILED_SEQUENCE, REFERENCED_SEQUENCE = "00081198", "00081199"
INSTANCE_UID, FAILURE_REASON, WARNING_REASON = "00081155", "00081197", "00081196"
ERROR_COMMENT = "00000902"

ALREADY_THERE = {DUPLICATE_INSTANCE, 0xB00E}
"""Duplicate SOP Instance, and 45070, which Microsoft's server answers instead."""

CONFLICT_REASONS = {*ALREADY_THERE, 0x0110}
"""Reasons of a 409 that may mean the same: Google answers 272, a processing failure."""


class Stored(Enum):
    """Status of one instance in an answer."""

    YES = auto()
    CHANGED = auto()
    """Stored with other values, perhaps under another UID."""
    ALREADY = auto()
    """Refused as a duplicate."""
    UNKNOWN = auto()
    """Nothing; only a search can tell."""
    NO = auto()
    """Refused, for a reason that the answer names."""


@dataclass(frozen=True)
class StoreAnswer:
    """The part of an answer that is about one instance."""

    stored: Stored
    reason: int = 0
    """Failure Reason (0008,1197) or Warning Reason (0008,1196); 0 if there is none."""
    comment: str = ""
    """Error Comment (0000,0902), which dcm4chee adds."""


def read_answer(answer: requests.Response, instance_uid: str) -> StoreAnswer:
    """Return what a server's answer reveals of the instance that it was sent."""
    conflict = answer.status_code == 409
    data_sets = list(_data_sets(answer))
    # Failures first: a server may list an instance in both sequences.
    for item in _items(data_sets, FAILED_SEQUENCE, instance_uid):
        reason = _number(item, FAILURE_REASON)
        if reason in (CONFLICT_REASONS if conflict else ALREADY_THERE):
            return StoreAnswer(Stored.ALREADY, reason)
        if reason:
            return StoreAnswer(Stored.NO, reason, str(_first(item, ERROR_COMMENT) or ""))
    for item in _items(data_sets, REFERENCED_SEQUENCE, instance_uid):
        reason = _number(item, WARNING_REASON)
        return StoreAnswer(Stored.CHANGED if reason == COERCED else Stored.YES, reason)
    # A 409 without a reason is most often a duplicate; who calls looks for the object.
    return StoreAnswer(Stored.ALREADY if conflict else Stored.UNKNOWN)


def instance_uids(answer: requests.Response) -> set[str]:
    """Return the SOP Instance UIDs in the answer to a search.

    Raises:
        ValueError: the answer is not DICOM JSON.
    """
    # "No match" (PS3.18 10.6.3): some answer 200 and nothing, though.
    if answer.status_code == 204 or not answer.content:
        return set()
    content = answer.json()
    if content is not None and not isinstance(content, list):
        raise ValueError("no array")
    return {str(uid) for match in _dicts(content) if (uid := _first(match, "00080018"))}


def named_instances(answer: requests.Response) -> list[str] | None:
    """Return Orthanc's names for the instances in its answer to a look-up; None of another server.

    Such as `[{"ID": …, "Path": …, "Type": "Instance"}]`.
    """
    try:
        content = answer.json() if answer.ok else None
    except ValueError:
        return None
    if not isinstance(content, list) or len(_dicts(content)) != len(content):
        return None
    return [str(each.get("ID")) for each in content if each.get("Type") == "Instance"]


def is_page(answer: requests.Response) -> bool:
    """Return whether an answer is a page for people, such as a login form."""
    return "html" in answer.headers.get("Content-Type", "").lower() and bool(answer.content)


def _data_sets(answer: requests.Response) -> Iterator[dict[str, Any]]:
    try:
        content = answer.json()
    except ValueError:  # a page for people, XML, or nothing
        return
    yield from _dicts(content if isinstance(content, list) else [content])


def _items(
    data_sets: list[dict[str, Any]], tag: str, instance_uid: str
) -> Iterator[dict[str, Any]]:
    """Yield the items of a sequence that are about one instance, or name none."""
    for each in data_sets:
        element = each.get(tag)
        for item in _dicts(element.get("Value")) if isinstance(element, dict) else ():
            # One instance was sent: an item without a UID can be about no other.
            if _first(item, INSTANCE_UID) in (None, instance_uid):
                yield item


def _dicts(content: Any) -> list[dict[str, Any]]:
    return [each for each in content if isinstance(each, dict)] if isinstance(content, list) else []


def _first(item: dict[str, Any], tag: str) -> Any:
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _number(item: dict[str, Any], tag: str) -> int:
    try:
        return int(_first(item, tag) or 0)
    except (TypeError, ValueError):
        return 0
