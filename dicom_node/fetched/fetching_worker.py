"""A worker that has no file of its jobs: it fetches series and brings results back."""

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from dicom_node.data_folder import DataFolder
from dicom_node.errors import GatewayAway, NotHeld, SourceChanged
from dicom_node.fetched.cache import Cache
from dicom_node.fetched.transfer.held_files import HeldFile
from dicom_node.fetched.transfer.holder import Holder
from dicom_node.jobs.backoff import Backoff
from dicom_node.jobs.content_digest import content_digest, file_stamp, joined_stamp
from dicom_node.jobs.records import DeliveryTask, SegmentResult, SeriesTask
from dicom_node.jobs.steps.series_worker import SeriesWorker
from dicom_node.pipeline.outcome import Outcome
from dicom_node.receive.header import SeriesKey

logger = logging.getLogger(__name__)

BRIEFLY = Backoff(first_s=1.0, longest_s=8.0, give_up_s=30.0)
"""Pauses while a finished result waits for its gateway, before the series is put aside: a gateway
that starts again is there within seconds, and what was computed need not be computed anew."""


@dataclass(frozen=True)
class Places:
    """What a worker asks of the cluster."""

    holder: Callable[[str], Holder]
    """Returns a gateway by its name; raises GatewayAway where its address is not known."""
    received_by: Callable[[str], str]
    """Returns the gateway to which a job's series came again; empty where it did not."""
    holder_of: Callable[[str], str]
    """Returns the gateway that holds the results of a job; empty where the job is forgotten."""
    postpone: Callable[[str, GatewayAway], NoReturn]
    """Puts a job aside that waits for a gateway."""
    done: Callable[[str], None]
    """Called with a job whose results are at its gateway."""
    check: Callable[[str], None]
    """Raises where a job is no longer this process's."""
    executor: str
    """`Member.executor` of this process, by which a gateway knows whose a job is."""


@dataclass(frozen=True)
class FetchingWorker:
    """Runs the steps of another worker on copies of the files."""

    worker: SeriesWorker
    places: Places
    cache: Cache
    attempts: Path
    """Folder for results that are being made."""
    briefly: Backoff = field(default=BRIEFLY)

    def segment(
        self, job: str, task: SeriesTask, *, urgent: bool, superseded: Sequence[Outcome]
    ) -> SegmentResult:
        """Segment a series and make its results, which lie at its gateway once this returns."""
        with self._away(job), self._fetched(job, task) as (home, here), self._attempt() as attempt:
            older = self._older(task, superseded)
            _take_along(job, home, attempt)
            worker = replace(self.worker, data=attempt)
            result = worker.segment(job, here, urgent=urgent, superseded=older)
            self._briefly(lambda: self._require_unchanged(job, task, here))
            self._bring_back(job, home, attempt)
            self.places.done(job)
            deliveries = _stored_deliveries(result.deliveries, home)
            return SegmentResult(_stored_outcome(result.outcome), deliveries, home.name)

    def failed(self, job: str, task: SeriesTask, reason: str) -> Sequence[DeliveryTask]:
        """Make the receipts of a series whose work failed; none where its files are gone."""
        with self._away(job):
            try:
                with self._fetched(job, task) as (home, here), self._attempt() as attempt:
                    made = replace(self.worker, data=attempt).failed(job, here, reason)
                    self._bring_back(job, home, attempt)
                    return _stored_deliveries(made, home)
            except (NotHeld, SourceChanged):
                return ()

    @contextmanager
    def _away(self, job: str) -> Iterator[None]:
        """Put the job aside where a gateway is away."""
        try:
            yield
        except GatewayAway as error:
            # Put aside, it would be taken from the process that works on it by now.
            self.places.check(job)
            self.places.postpone(job, error)

    @contextmanager
    def _logged(self, task: SeriesTask) -> Iterator[None]:
        """Log what ends a job before, or after, the worker has it."""
        try:
            yield
        except (NotHeld, SourceChanged) as error:
            logger.error("failed: %s", error, extra={"action": "fetch", "series": task.series_uid})
            raise

    @contextmanager
    def _attempt(self) -> Iterator[DataFolder]:
        """Make a folder for the results of one attempt, which goes with the block."""
        self.attempts.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.attempts) as folder:
            data = DataFolder(Path(folder))
            data.results.mkdir()
            yield data

    @contextmanager
    def _fetched(self, job: str, task: SeriesTask) -> Iterator[tuple[Holder, SeriesTask]]:
        """Fetch a series; yield the gateway that has it, and the task with the copies' paths.

        Raises:
            NotHeld: an instance is not kept any more.
            SourceChanged: the instances are others than those that the job was made of.
        """
        begun = time.perf_counter()
        with self.cache.series(_series(task)) as folder:
            paths = tuple(folder / path.name for path in task.paths)
            with self._logged(task):
                home, listed = self._listed(job, task)
                count = _fetch_series(home, listed, task, paths)
                _require_content(task, paths)
            extra = {"action": "fetch", "job": job, "series": task.series_uid}
            seconds = time.perf_counter() - begun
            logger.info("%d instances fetched", count, extra={**extra, "seconds": seconds})
            yield home, replace(task, paths=paths, stamp=file_stamp(paths))

    def _listed(self, job: str, task: SeriesTask) -> tuple[Holder, Mapping[str, HeldFile]]:
        """Return the gateway that has all instances of a series, and them by name."""
        # Where it came again lately first: the other may have removed it, or be gone for good.
        names = filter(None, (self.places.received_by(job), task.holder))
        errors: list[GatewayAway | NotHeld] = []
        for name in dict.fromkeys(names):
            try:
                holder = self.places.holder(name)
                return holder, _all_of(task, holder)
            except (GatewayAway, NotHeld) as error:
                errors.append(error)
        # One that is away may have it.
        raise next((each for each in errors if isinstance(each, GatewayAway)), errors[-1])

    def _require_unchanged(self, job: str, task: SeriesTask, here: SeriesTask) -> None:
        """Return if the gateway has the instances that were computed.

        Raises:
            NotHeld, SourceChanged: it does not; the result would be of what nobody has.
        """
        with self._logged(task):
            holder, listed = self._listed(job, task)
            if joined_stamp(listed[path.name].stamp for path in task.paths) != task.stamp:
                _fetch_series(holder, listed, task, here.paths)
                _require_content(task, here.paths)

    def _bring_back(self, job: str, home: Holder, attempt: DataFolder) -> None:
        """Let a gateway keep the results of a job."""
        held: dict[str, HeldFile] = {}
        self._briefly(lambda: held.update({each.name: each for each in home.results(job)}))
        for file in sorted(attempt.results.iterdir()):
            if file.name not in held or not held[file.name].is_copied_to(file):
                self.places.check(job)
                self._briefly(partial(home.put_result, job, file, self.places.executor))

    def _briefly(self, call: Callable[[], None]) -> None:
        """Call a gateway, again after short pauses while it is away."""
        for pause_s in self.briefly.pauses():
            try:
                return call()
            except GatewayAway:
                time.sleep(pause_s)
        return call()

    def _older(self, task: SeriesTask, superseded: Sequence[Outcome]) -> list[Outcome]:
        """Return the outcomes of older jobs with the paths of copies of their objects."""
        for job in task.supersedes:
            if not (name := self.places.holder_of(job)):
                continue
            holder = self.places.holder(name)
            for each in holder.results(job):
                path = self.cache.data.results / each.name
                if path.suffix == ".dcm" and not each.is_copied_to(path):
                    holder.fetch_results(job, {each.name: path})
        return [_copied_outcome(each, self.cache.data.results) for each in superseded]


def _all_of(task: SeriesTask, holder: Holder) -> Mapping[str, HeldFile]:
    """Return the instances of a job by name.

    Raises:
        NotHeld: the gateway does not have them all.
    """
    listed = {each.name: each for each in holder.instances(_series(task))}
    if missing := sum(path.name not in listed for path in task.paths):
        raise NotHeld(
            f"{missing} of {len(task.paths)} instances are no longer kept at {holder.name};"
            " send the series again"
        )
    return listed


def _fetch_series(
    holder: Holder, listed: Mapping[str, HeldFile], task: SeriesTask, paths: Sequence[Path]
) -> int:
    """Fetch the instances of which there is no copy; return their number."""
    wanted = {path.name: path for path in paths if not listed[path.name].is_copied_to(path)}
    holder.fetch_instances(_series(task), wanted)
    return len(wanted)


def _take_along(job: str, home: Holder, attempt: DataFolder) -> None:
    """Fetch the objects that a job made before: what is the same is left as it is."""
    names = [each.name for each in home.results(job) if each.name.endswith(".dcm")]
    home.fetch_results(job, {name: attempt.results / name for name in names})


def _require_content(task: SeriesTask, paths: Sequence[Path]) -> None:
    """Return if copies hold what the job was made of, whatever happened to them on their way.

    Raises:
        SourceChanged: they do not.
    """
    # The digest of a series that cannot be read is one of times, which copies do not have.
    if not task.refusal and content_digest(paths) != task.digest:
        raise SourceChanged(
            "instances of the series came again since the job was made; what came makes a job of"
            " its own"
        )


def _series(task: SeriesTask) -> SeriesKey:
    return SeriesKey(task.study_uid, task.series_uid)


def _stored_outcome(outcome: Outcome) -> Outcome:
    """Return an outcome with paths as the store is to have them."""
    return _copied_outcome(outcome, Path("results"))


def _copied_outcome(outcome: Outcome, folder: Path) -> Outcome:
    """Return an outcome whose files lie in a folder."""
    return replace(
        outcome,
        seg=folder / outcome.seg.name if outcome.seg else None,
        files={name: folder / file.name for name, file in outcome.files.items()},
        stacks=tuple(_copied_outcome(each, folder) for each in outcome.stacks),
    )


def _stored_deliveries(
    deliveries: Sequence[DeliveryTask], home: Holder
) -> tuple[DeliveryTask, ...]:
    return tuple(
        replace(each, file=Path("results") / each.file.name, holder=home.name)
        for each in deliveries
    )
