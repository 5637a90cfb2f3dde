"""Choice of the best among the series of a study whose jobs are held.

A job is held in the workflow store, so nothing is lost by a restart. Once its study is quiet, its
best series is let go, and the others are held until that has a result; then they are let go to end
as not selected. If it ends without a result, the next best takes its place: each series has one
answer, and a study that can be segmented is.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from dbos import DBOS, WorkflowStatus

from dicom_node.choice.candidate import Candidate, ranked, why_preferred
from dicom_node.choice.contrast_phase import UNKNOWN, FoundPhase, Phase
from dicom_node.choice.reading import read_candidate
from dicom_node.error_location import unforeseen
from dicom_node.jobs.records import SegmentResult
from dicom_node.jobs.state import is_held, series_task, superseded_by
from dicom_node.jobs.workflows import (
    NOT_CHOSEN,
    PREFERRED,
    SEGMENT,
    WHY_PREFERRED,
    attribute,
    held_queue,
    here,
    is_active,
    segment_queue,
)
from dicom_node.pipeline.outcome import Verdict
from dicom_node.rounds import repeated
from dicom_node.selection.rules import Rules

logger = logging.getLogger(__name__)

ROUND_S = 1.0
"""Seconds between two looks at the jobs that are held."""

Measure = Callable[[Sequence[Path]], FoundPhase]
"""Returns the contrast phase that the pixels of a series show."""

Quiet = Callable[[str], float]
"""Returns the seconds since the last instance of a study came; infinity where none is coming in."""


@dataclass(frozen=True)
class StudyChoice:
    """Lets the held jobs of a node go, study by study."""

    rules: Rules
    quiet_s: Quiet
    measure: Measure = lambda paths: UNKNOWN
    """Called for series whose headers do not state their phase, if there are several."""
    on_release: Callable[[], None] = lambda: None
    """Called when a job was let go: it begins soon."""
    clock: Callable[[], float] = time.time
    _candidates: dict[str, Candidate | None] = field(default_factory=dict)
    """Of the jobs that are held; None for one that has no part in the choice."""

    def round(self) -> None:
        """Look at each study once; let all go where no choice is configured."""
        if not self.rules.best_of_study:
            for job in held_jobs():
                self._let_go(job.workflow_id, "select.best_of_study is off")
            return
        studies = defaultdict[str, list[WorkflowStatus]](list)
        for job in held_jobs():
            studies[series_task(job).study_uid].append(job)
        known = {job.workflow_id for jobs in studies.values() for job in jobs}
        # Held no longer: the memory of a node that runs for months must not grow.
        for name in self._candidates.keys() - known:
            del self._candidates[name]
        for study, jobs in studies.items():
            self._look_at(study, jobs)

    def _look_at(self, study: str, jobs: Sequence[WorkflowStatus]) -> None:
        candidates = dict(self._taking_part(jobs))
        behind = {name: attribute(job, PREFERRED) for name, (job, _) in candidates.items()}
        # A choice that was made, perhaps before a restart: it is followed, and made once.
        leaders = {leader for leader in behind.values() if leader}
        if leaders:
            self._follow(leaders, candidates)
        elif candidates and self._is_quiet(study, [job for job, _ in candidates.values()]):
            self._choose(list(candidates.values()))

    def _taking_part(
        self, jobs: Sequence[WorkflowStatus]
    ) -> Iterator[tuple[str, tuple[WorkflowStatus, Candidate]]]:
        """Yield the jobs to choose among; let go the others, whose work will state why."""
        for job in jobs:
            candidate = self._candidate(job)
            if candidate is None:
                self._let_go(job.workflow_id, "it has no part in the choice of its study")
            else:
                yield job.workflow_id, (job, candidate)

    def _candidate(self, job: WorkflowStatus) -> Candidate | None:
        name = job.workflow_id
        if name not in self._candidates:
            try:
                found = read_candidate(name, series_task(job).paths, self.rules)
            except Exception as error:  # whatever a file does to a reader, its job will name it
                extra = {"action": "choose", "job": name}
                logger.warning("headers not read: %s", unforeseen(error), extra=extra)
                found = None
            self._candidates[name] = found
        return self._candidates[name]

    def _is_quiet(self, study: str, jobs: Sequence[WorkflowStatus]) -> bool:
        newest_s = max(job.created_at or 0 for job in jobs) / 1000
        # Both: the last job may be old while another series of the study is still coming in.
        since_s = min(self.clock() - newest_s, self.quiet_s(study))
        return since_s >= self.rules.study_wait_s

    def _choose(self, found: Sequence[tuple[WorkflowStatus, Candidate]]) -> None:
        """Let the best go, and note it on the others first: a crash in between loses nothing."""
        candidates = [candidate for _, candidate in found]
        if len(found) > 1 and "phase" in self.rules.prefer:
            candidates = [self._measured(job, candidate) for job, candidate in found]
        best, *others = ranked(candidates, self.rules.prefer)
        for other in others:
            why = why_preferred(best, other, self.rules.prefer)
            reason = f"{best.name} of the study was preferred because {why}"
            noted = {PREFERRED: best.job, WHY_PREFERRED: reason}
            DBOS.update_workflow_attributes(other.job, noted, merge=True)
        self._let_go(best.job, f"the best of {len(candidates)} series of its study")

    def _measured(self, job: WorkflowStatus, candidate: Candidate) -> Candidate:
        """Return a candidate with the phase that its pixels show, if its headers state none."""
        if candidate.phase.phase is not Phase.UNKNOWN:
            return candidate
        try:
            found = replace(candidate, phase=self.measure(series_task(job).paths))
        except Exception as error:  # whatever it was, the job itself will name it
            extra = {"action": "choose", "job": candidate.job}
            logger.warning("phase not measured: %s", unforeseen(error), extra=extra)
            found = candidate
        self._candidates[candidate.job] = found  # once, should the choice be made anew
        return found

    def _follow(
        self, leaders: set[str], candidates: Mapping[str, tuple[WorkflowStatus, Candidate]]
    ) -> None:
        """Let go what a leader has made needless, or choose anew where it has no result."""
        for leader in leaders:
            behind = [job for job, _ in candidates.values() if attribute(job, PREFERRED) == leader]
            if leader in candidates:  # a crash came before it was let go
                self._let_go(leader, "the best series of its study")
                continue
            status = DBOS.get_workflow_status(leader)
            # Under way; the others wait for how it ends.
            if status is not None and is_active(status):
                continue
            if status is not None and _is_segmented(status):
                for job in behind:
                    self._refuse(job)
            else:
                for job in behind:
                    DBOS.update_workflow_attributes(
                        job.workflow_id, {PREFERRED: "", WHY_PREFERRED: ""}, merge=True
                    )

    def _refuse(self, job: WorkflowStatus) -> None:
        reason = attribute(job, WHY_PREFERRED)
        DBOS.update_workflow_attributes(job.workflow_id, {NOT_CHOSEN: reason}, merge=True)
        self._let_go(job.workflow_id, "another series of its study has a result")

    def _let_go(self, name: str, why: str) -> None:
        status = DBOS.get_workflow_status(name)
        # Looked at again: measuring takes seconds, and to resume a job that was superseded or let
        # go by a person meanwhile would do its work once more.
        if status is None or not is_held(status):
            return
        DBOS.resume_workflow(name, queue_name=segment_queue(here()))
        logger.info("goes on: %s", why, extra={"action": "choose", "job": name})
        self.on_release()


def held_jobs() -> list[WorkflowStatus]:
    """Return the segment workflows of this node that are held, the oldest first."""
    return DBOS.list_workflows(name=SEGMENT, status="ENQUEUED", queue_name=held_queue(here()))


def _is_segmented(status: WorkflowStatus) -> bool:
    """Return whether a job has a result that is still the newest of its series."""
    if not status.output or superseded_by(status):
        return False
    return SegmentResult.from_json(status.output).outcome.verdict is Verdict.SEGMENTED


@contextmanager
def choosing(
    rules: Rules,
    quiet_s: Quiet,
    measure: Measure,
    on_release: Callable[[], None],
    clock: Callable[[], float] = time.time,
) -> Iterator[None]:
    """Choose among the series of each study while the block lasts.

    Where that is no longer configured, what was held before is let go.

    Args:
        rules: of the configuration.
        quiet_s: seconds since a series of a study came in.
        measure: measures the phase of a series.
        on_release: called when a job was let go.
        clock: of the store, which notes when jobs were queued; seconds since 1970.
    """
    choice = StudyChoice(rules, quiet_s, measure, on_release, clock)

    def run() -> bool:
        try:
            choice.round()
        # The edge of this thread, which must not end: the store may be full, locked or away.
        # The jobs stay held for the next round.
        except Exception as error:
            logger.warning("choice of study: %s", unforeseen(error), extra={"action": "choose"})
            return False
        return not rules.best_of_study

    with repeated(run, ROUND_S, "study choice"):
        yield
