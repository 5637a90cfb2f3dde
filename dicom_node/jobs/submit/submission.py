"""Make a job of each series that was received, and decide whether it is known, changed or new.

The identity of a job is what its series holds, not what the series is called: a series that comes
again with another patient, study, slice or pixel under the same UIDs is new work, which supersedes
the older job. One that comes again unchanged is known work.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dbos import DBOS, WorkflowStatus
from sqlalchemy import make_url

from dicom_node.error_location import error_location
from dicom_node.jobs.content_digest import content_digest, file_stamp
from dicom_node.jobs.dbos_runtime import submit
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.records import SeriesTask
from dicom_node.jobs.requests import ask_for_redo
from dicom_node.jobs.state import State, refused_copies, series_task, superseded_by
from dicom_node.jobs.submit.asked_for import asked_after, is_asked_for
from dicom_node.jobs.submit.fair_share import Shares
from dicom_node.jobs.submit.modality import modality_of
from dicom_node.jobs.workflows import (
    DELIVER,
    RECEIVED_BY,
    REFUSED_COPIES,
    SEGMENT,
    SUPERSEDED_BY,
    cancel,
    here,
    is_active,
)
from dicom_node.receive.foreign_copy import MOST_NOTES
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.series_assembler import ReceivedSeries
from dicom_node.receive.spool import Spool
from dicom_node.selection.priority import is_urgent
from dicom_node.selection.rules import PriorityRules

logger = logging.getLogger(__name__)

TRIES = 3
"""After this many failures to read a series it becomes a job that is refused, so that it ends."""

SERIES_LETTERS = 6
"""First letters of a job's name, which all jobs of a series share."""


@dataclass(frozen=True)
class SeriesSubmitter:
    """Makes jobs of the series that an assembler hands over."""

    spool: Spool
    model_digest: str
    priority: PriorityRules
    database_url: str
    best_of_study: bool = False
    """Hold each series until the best of its study is chosen."""
    shares: Shares = field(default_factory=Shares)
    """Of the callers, where series of several of them wait."""
    holder: str = ""
    """`SeriesTask.holder`: this gateway, where its files are fetched."""
    has_workers: bool = False
    """Whether other processes run the jobs, and do one again that is asked for."""
    _failures: Counter[str] = field(default_factory=Counter)

    def submit(self, series: ReceivedSeries) -> None:
        """Queue the work on a series, unless it is known; once this returns, no crash loses it.

        Raises:
            Exception: the series cannot be read, or the store cannot be written; offer it again.
        """
        task, urgent = self._task(series)
        jobs = jobs_of(series.series_uid)
        job = job_name(task, self.model_digest, place_in(self.database_url))
        known = _unchanged_since(jobs, task) or next((w for w in jobs if same_work(w, job)), None)
        if known and superseded_by(known):
            if _is_leftover(known, task, jobs):
                self.spool.remove(task.paths)
                return
            known, job = None, f"{job}-{len(jobs)}"  # what was there before is there once more
        replaced = _replaced(jobs, task, known)
        if known is None:
            task = replace(task, supersedes=tuple(each.workflow_id for each in replaced))
            self._queue(job, task, urgent=urgent)
        elif self.holder:
            DBOS.update_workflow_attributes(
                known.workflow_id, {RECEIVED_BY: self.holder}, merge=True
            )
        # The new job first: after a crash in between, the series is offered again and this is done
        # then.
        self._close(replaced, known.workflow_id if known else job, task)
        self._name_refused(known, known.workflow_id if known else job, task)
        self._failures.pop(series.series_uid, None)
        _log(known.workflow_id if known else job, task, urgent=urgent, known=known)
        if known and is_asked_for(task.paths):
            self._redo(known.workflow_id, task)

    def _queue(self, job: str, task: SeriesTask, *, urgent: bool) -> None:
        if urgent:
            submit(job, self._stored(task), urgent=True)
            return
        turn = self.shares.turn(task)
        held = self._is_held(task, urgent=urgent)
        submit(job, self._stored(task), held=held, caller=turn.caller, tag=turn.tag)

    def _task(self, series: ReceivedSeries) -> tuple[SeriesTask, bool]:
        study, uid, paths = series.study_uid, series.series_uid, series.paths
        stamp = file_stamp(paths)  # before the digest: what comes meanwhile changes it
        try:
            digest, urgent = content_digest(paths), is_urgent(paths, self.priority)
        # Whatever a file does to a reader, its series has to end: it is offered again twice, and
        # then becomes a job that is refused with the place of the error. Its files stay.
        except Exception as error:
            self._failures[uid] += 1
            if self._failures[uid] < TRIES:
                raise
            reason = f"its files cannot be read: {error_location(error)}; send the series again"
            return SeriesTask(study, uid, paths, digest=stamp, stamp=stamp, refusal=reason), False
        kind = modality_of(paths[0])
        return SeriesTask(study, uid, paths, digest=digest, stamp=stamp, modality=kind), urgent

    def _stored(self, task: SeriesTask) -> SeriesTask:
        """Return a task as the store is to have it."""
        if not self.holder:
            return task
        # Relative to the data folder: other processes have theirs elsewhere.
        paths = tuple(path.relative_to(self.spool.folder.parent) for path in task.paths)
        return replace(task, paths=paths, holder=self.holder)

    def _name_refused(self, known: WorkflowStatus | None, job: str, task: SeriesTask) -> None:
        """Let a job name what other callers sent of its series while it came."""
        series = SeriesKey(task.study_uid, task.series_uid)
        if not (notes := self.spool.refused_copies(series)):
            return
        # Once, though a crash in between offers them again.
        all_notes = dict.fromkeys([*(refused_copies(known) if known else ()), *notes])
        named = list(all_notes)[-MOST_NOTES:]
        DBOS.update_workflow_attributes(job, {REFUSED_COPIES: named}, merge=True)
        self.spool.forget_refused_copies(series)

    def _is_held(self, task: SeriesTask, *, urgent: bool) -> bool:
        """Return whether a series waits for others; one that a person asks for never does."""
        unconditional = urgent or task.refusal or is_asked_for(task.paths)
        return self.best_of_study and not unconditional

    def _redo(self, job: str, task: SeriesTask) -> None:
        """Do a known job again, because a person asked for it after it had ended."""
        with open_ledger(self.database_url) as ledger:
            known = ledger.find(job)
            if known.state is not State.HELD and not asked_after(known, task.paths):
                return
            extra = {"action": "queue", "job": job, "series": task.series_uid}
            if self.has_workers:
                ask_for_redo(known)
                logger.info("a person asked for it: workers are to do it again", extra=extra)
            elif ledger.redo(known):
                logger.info("a person asked for it: done again", extra=extra)

    def _close(self, replaced: Sequence[WorkflowStatus], job: str, task: SeriesTask) -> None:
        """Mark jobs as superseded, stop what is left of them, remove files that only they have."""
        for each in replaced:
            DBOS.update_workflow_attributes(each.workflow_id, {SUPERSEDED_BY: job}, merge=True)
            children = DBOS.list_workflows(name=DELIVER, parent_workflow_id=each.workflow_id)
            for workflow in (each, *children):
                if is_active(workflow):
                    cancel(workflow, {})
            theirs = {self.spool.folder.parent / path for path in series_task(each).paths}
            self.spool.remove(theirs - set(task.paths))


def job_name(task: SeriesTask, model_digest: str, place: str = "") -> str:
    """Return the name of the job on this content under this model.

    The same content sent twice is the same job; a late instance or another header makes another.

    Args:
        task: the series.
        model_digest: digest of the model.
        place: as `place_in` returns it.
    """
    parts = [task.digest, model_digest, *([place] if place else [])]
    work = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return _prefix(task.series_uid) + work[: 16 - SERIES_LETTERS]


def place_in(database_url: str) -> str:
    """Return the name of this data folder where others may share the store; empty otherwise.

    Names of jobs are unique in a store, and what another node has done with the same series is no
    result of this one. An SQLite store belongs to one node.
    """
    shared = make_url(database_url).get_backend_name() != "sqlite"
    return here() if shared else ""


def jobs_of(series_uid: str) -> list[WorkflowStatus]:
    """Return the segment workflows of a series, the newest first."""
    found = DBOS.list_workflows(
        name=SEGMENT, workflow_id_prefix=_prefix(series_uid), sort_desc=True
    )
    # Six letters of a digest may be those of another series, too.
    return [each for each in found if series_task(each).series_uid == series_uid]


def same_work(workflow: WorkflowStatus, job: str) -> bool:
    """Return whether a workflow is the job of this name, the first time or once more."""
    return workflow.workflow_id.partition("-")[0] == job


def _unchanged_since(jobs: Sequence[WorkflowStatus], task: SeriesTask) -> WorkflowStatus | None:
    """Return the job since which no file of the series was received, under any model.

    A node that starts offers all that it keeps once more. With another model than before it would
    otherwise segment and deliver a day's series again.
    """
    # A superseded one too: its files may be what a crash has left of it.
    return next((each for each in jobs if series_task(each).stamp == task.stamp), None)


def _prefix(series_uid: str) -> str:
    return hashlib.sha256(series_uid.encode()).hexdigest()[:SERIES_LETTERS]


def _replaced(
    jobs: Sequence[WorkflowStatus], task: SeriesTask, known: WorkflowStatus | None
) -> list[WorkflowStatus]:
    """Return the older jobs of a series whose instances are all here, perhaps with other content.

    A job on instances that are not here stays: a late slice, sent when the others had been
    removed long ago, makes no result that could take the place of the whole one's.
    """
    here = {path.name for path in task.paths}
    newest = known.created_at if known else None
    return [
        each
        for each in jobs
        if not superseded_by(each)
        and (newest is None or (each.created_at or 0) < newest)
        and {path.name for path in series_task(each).paths} <= here
    ]


def _is_leftover(known: WorkflowStatus, task: SeriesTask, jobs: Sequence[WorkflowStatus]) -> bool:
    """Return whether files are what a crash left of a superseded job, and were not sent again."""
    later = next((each for each in jobs if each.workflow_id == superseded_by(known)), None)
    # DBOS counts milliseconds since 1970.
    moment_s = (later.created_at or 0) / 1000 if later else 0.0
    return all(path.stat().st_mtime < moment_s for path in task.paths)


def _log(job: str, task: SeriesTask, *, urgent: bool, known: WorkflowStatus | None) -> None:
    extra = {"action": "queue", "job": job, "series": task.series_uid}
    if known is not None:
        logger.info("known, %d instances unchanged", len(task.paths), extra=extra)
        return
    notes = ", urgent" * urgent
    if task.supersedes:
        notes += f", changed: supersedes {', '.join(task.supersedes)}"
    logger.info("complete, %d instances%s", len(task.paths), notes, extra=extra)
