"""Jobs as JSON and as rows of the page; no file, folder or patient is named."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dicom_node.corrections.correction import Correction
from dicom_node.jobs.state import Delivery, Job, State
from dicom_node.jobs.viewer_link import viewer_link
from dicom_node.jobs.workflows import DELIVERIES_AT_ONCE

ENDINGS = (
    State.DONE,
    State.NOTHING_FOUND,
    State.NOT_SELECTED,
    State.REFUSED,
    State.FAILED,
    State.SUPERSEDED,
)
"""States in which a job may end."""


@dataclass(frozen=True)
class Filter:
    """Choice of jobs, as the page's form states it; empty fields choose all."""

    state: str = ""
    """A `State`."""
    peer: str = ""
    modality: str = ""
    """Such as "CT"."""
    text: str = ""
    """Part of the job's name, of a UID, of the reason or of what else is searched."""
    review: str = ""
    """"yes": a check asks for a look at the result; "no": none does."""

    def chosen(self, jobs: Iterable[Job], also: Callable[[Job], str] = lambda job: "") -> list[Job]:
        """Return the jobs that are chosen, in the same order.

        Args:
            jobs: to choose from.
            also: returns further words of a job that are searched.
        """
        return [job for job in jobs if self._fits(job) and self._reads(job, also)]

    def _fits(self, job: Job) -> bool:
        return (
            self.state in ("", job.state)
            and (not self.peer or self.peer in {each.peer for each in job.deliveries})
            and self.modality in ("", job.modality)
            and self.review in ("", "yes" if job.review else "no")
        )

    def _reads(self, job: Job, also: Callable[[Job], str]) -> bool:
        if not self.text:
            return True
        # `also` adds the study's words only for those who may see them: a search shows who was
        # here.
        words = f"{job.id} {job.study_uid} {job.series_uid} {job.reason} {also(job)}"
        return self.text.lower() in words.lower()


def last_day(jobs: Sequence[Job], now: datetime | None = None) -> Mapping[str, int]:
    """Count the jobs that ended in the last 24 hours, by how they ended."""
    since = (now or datetime.now(UTC)) - timedelta(days=1)
    counts = Counter(job.state for job in jobs if job.finished and job.finished > since)
    return {str(each): counts[each] for each in ENDINGS}


@dataclass(frozen=True)
class PeerRow:
    """Deliveries to one peer."""

    name: str
    done: int
    waiting: int
    failed: int
    reason: str
    """Of the newest delivery that failed."""
    last_success: datetime | None
    """When a delivery was last confirmed."""
    next_attempt: datetime | None
    """When the first of the deliveries that pause is tried again."""


NextAttempt = Callable[[Delivery], datetime | None]
"""Returns when a delivery is tried again; None if it does not pause."""


def peer_rows(
    peers: Iterable[str], jobs: Sequence[Job], next_attempt: NextAttempt
) -> list[PeerRow]:
    """Return what became of the deliveries of `jobs`, peer by peer."""
    return [_peer_row(name, jobs, next_attempt) for name in sorted(peers)]


def _peer_row(name: str, jobs: Sequence[Job], next_attempt: NextAttempt) -> PeerRow:
    deliveries = [each for job in jobs for each in job.deliveries if each.peer == name]
    failed = [each for each in deliveries if each.state is State.FAILED]
    done = [each for each in deliveries if each.state is State.DONE]
    # Each look reads the steps of a delivery; no more than these are at work at the same time.
    at_work = [each for each in deliveries if each.state is State.DELIVERING][:DELIVERIES_AT_ONCE]
    return PeerRow(
        name,
        len(done),
        sum(each.state.active for each in deliveries),
        len(failed),
        failed[-1].reason if failed else "",
        max((each.finished for each in done if each.finished), default=None),
        min(filter(None, map(next_attempt, at_work)), default=None),
    )


def to_public(
    job: Job, viewer: str | None, corrections: Sequence[Correction] = ()
) -> dict[str, Any]:
    """Return the part of a job that may be shown to anybody who has the study's UID."""
    return {
        "job": job.id,
        "state": str(job.state),
        "ending": job.ending,
        "reason": job.reason,
        "study": job.study_uid,
        "series": job.series_uid,
        "slices": len(job.paths),
        "created": job.created.isoformat(),
        "finished": job.finished.isoformat() if job.finished else None,
        "review": list(job.review),
        "refused_copies": list(job.refused_copies),
        "model": job.outcome.model if job.outcome else "",
        "millilitres": dict(job.outcome.millilitres) if job.outcome else {},
        "deliveries": [
            {"peer": each.peer, "item": each.item, "state": str(each.state)}
            for each in job.deliveries
        ],
        "viewer": viewer_link(viewer, job.study_uid, job.outcome),
        "seg": _seg(job),
        "corrections": [
            {"arrived": each.arrived.isoformat(), "dice": dict(each.dice), "reason": each.reason}
            for each in corrections
        ],
    }


def _seg(job: Job) -> dict[str, str] | None:
    """Return where the SEG is in the patient's tree, if there is one."""
    if not job.outcome or not job.outcome.seg_uid:
        return None
    return {"series": job.outcome.seg_series_uid, "instance": job.outcome.seg_uid}
