"""Fair shares of callers: in which order series that are not urgent are segmented.

Start-time fair queueing (Goyal, Vin and Cheng 1996, doi:10.1145/248156.248171). Each series has a
start tag, which DBOS keeps as its priority and takes the lowest of. The tags of a caller's series
lie apart by a quantum, which is smaller the greater its weight; a caller who had nothing to do
begins at the tag that is being worked on, so nobody saves up turns, and nobody waits for more than
the others' shares.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from dbos import DBOS, WorkflowStatus
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from dicom_node.attributes import UNREADABLE
from dicom_node.jobs.records import SeriesTask
from dicom_node.jobs.workflows import ACTIVE, SEGMENT, held_queue, here, segment_queue
from dicom_node.net.callers import MOST_WEIGHT, Caller

QUANTUM = MOST_WEIGHT
"""Between the tags of two series of a caller of weight 1; of weight 100 they lie apart by 1."""

FIRST_TAG, LAST_TAG = 1, 2**31 - 1
"""Priorities of DBOS. A job without one is 0, and goes first: those of earlier releases."""

AGAIN_FROM = 2**30
"""Where nothing waits and the last tag is beyond this, tags begin anew. A site that has something
to do at every moment reaches it after ten million series, and then waits in the order of arrival
from `LAST_TAG` on."""

LOOK_BACK = timedelta(days=1)
"""Age of the oldest job that is looked at, so that the search of a caller's last one ends."""

FEW = 8
"""Jobs that are looked at: some may have no tag, and two may be of one millisecond."""


@dataclass(frozen=True)
class Turn:
    """Place of a series among those that wait."""

    caller: str
    """AE title of its sender."""
    tag: int
    """Lower ones go first."""


@dataclass(frozen=True)
class Shares:
    """Weights of the callers; of those that have none it is 1."""

    weights: Mapping[str, int] = field(default_factory=dict)
    """By AE title."""

    @classmethod
    def of(cls, callers: Collection[Caller]) -> "Shares":
        """Return the shares of callers; of two with one AE title the first counts."""
        return cls({each.ae_title: each.weight for each in reversed(list(callers))})

    def turn(self, task: SeriesTask) -> Turn:
        """Return the place of a series that is queued now."""
        caller = sender_of(task)
        quantum = QUANTUM // self.weights.get(caller, 1)
        queue = segment_queue(here())
        working = _jobs(queue_name=queue, status="PENDING")
        waiting = _jobs(queue_name=queue, status="ENQUEUED", limit=FEW)
        lately = (datetime.now(UTC) - LOOK_BACK).isoformat()
        newest = {"start_time": lately, "sort_desc": True, "limit": FEW}
        ended = [] if working or waiting else _jobs(queue_name=queue, **newest)
        now = virtual_time(_tags(working), _tags(waiting), _tags(ended))
        own = _jobs(queue_name=[queue, held_queue(here())], user=caller, **newest)
        active = [each for each in own if each.status in ACTIVE]
        last = max(_tags(active or own), default=None)
        return Turn(caller, start_tag(now, last, quantum, active=bool(active)))


def sender_of(task: SeriesTask) -> str:
    """Return the AE title of the sender of a series; empty where its file does not have it."""
    try:
        meta = read_file_meta_info(task.paths[0])
    except (OSError, InvalidDicomError, *UNREADABLE):
        return ""
    return str(meta.get("SendingApplicationEntityTitle") or "").strip()


def virtual_time(working: Sequence[int], waiting: Sequence[int], ended: Sequence[int]) -> int:
    """Return the tag at which a caller begins who had nothing to do.

    Args:
        working: tags of the series that are segmented.
        waiting: tags of those that have waited for longest.
        ended: tags of the last ones, where none waits.
    """
    # The next tag of each caller is that of the work, or higher by a quantum at most; those that
    # have waited for longest have the next tags of their callers.
    next_tag = min(waiting, default=FIRST_TAG)
    if working:
        # A job that was put back to work has the low tag that it had.
        return max(*working, next_tag - QUANTUM)
    if waiting:  # between two jobs, or while no worker runs
        return next_tag
    last = max(ended, default=FIRST_TAG)
    return last if last < AGAIN_FROM else FIRST_TAG


def start_tag(now: int, last: int | None, quantum: int, *, active: bool) -> int:
    """Return the tag of a series.

    Args:
        now: as `virtual_time` returns it.
        last: tag of the caller's last series, if there is one.
        quantum: between two series of the caller.
        active: whether the last one has not ended. Where it has, its tag may be of a time before
            tags began anew, and holds the caller up for one quantum at most.
    """
    if last is None:
        return now
    own = last + quantum
    return min(max(now, own if active else min(own, now + quantum)), LAST_TAG)


def _jobs(**which: Any) -> list[WorkflowStatus]:
    return DBOS.list_workflows(name=SEGMENT, load_input=False, load_output=False, **which)


def _tags(jobs: Sequence[WorkflowStatus]) -> list[int]:
    return [each.priority for each in jobs if each.priority]
