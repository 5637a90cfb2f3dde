"""Segment series: each step computes one, and makes its results and notices."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from dicom_node.data_folder import DataFolder
from dicom_node.deliver.sop_reference import read_reference
from dicom_node.errors import SourceChanged, UnsupportedSeries
from dicom_node.jobs.content_digest import content_digest, file_stamp
from dicom_node.jobs.records import DeliveryTask, SegmentResult, SeriesTask
from dicom_node.jobs.steps.backlog import Backlog
from dicom_node.jobs.steps.notice_delivery import failure_receipts, outcome_receipts, withdrawals
from dicom_node.jobs.steps.step_errors import errors_logged
from dicom_node.pipeline.disk_room import with_room
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.pipeline.process import Origin, process
from dicom_node.pipeline.segmenter import SegmentationSetup, Segmenter
from dicom_node.results.attributes.model_run import Predecessor
from dicom_node.results.attributes.number_register import NumberRegister, StoredNumbers
from dicom_node.results.objects import ObjectKind, Profile, ResultObject
from engine.serving.turns import DeviceQueue

logger = logging.getLogger(__name__)

JobProgress = Callable[[str, int, int], None]
"""Called with a job, the number of its slices that are computed, and of all of them."""

OnResult = Callable[[str, SeriesTask, Outcome], None]
"""Called with a job whose result was made, its series and its outcome; must not raise."""

AtWork = Callable[[str], AbstractContextManager[object]]
"""Notes that a job is at work while a block lasts."""

Place = Callable[[str], AbstractContextManager[Path]]
"""Yields the file for the SEG of a job. What was written to it and beside it is the result once the
block has ended."""


def ignore_result(job: str, task: SeriesTask, outcome: Outcome) -> None:
    """No-op callback."""


@dataclass(frozen=True)
class SeriesWorker:
    """Segments series."""

    segmenter: Segmenter
    data: DataFolder
    profiles: Mapping[str, Profile]
    """Results that each of the peers receives."""
    progress: JobProgress
    device_queue: DeviceQueue = field(default_factory=DeviceQueue)
    """Order in which jobs use the device."""
    at_work: AtWork = nullcontext
    """`CrashRecord.at_work` of the node."""
    on_result: OnResult = ignore_result
    """Takes up results for a shadow model."""
    place: Place | None = None
    """Where several processes may run one job: `Epochs.place`. `DataFolder.result` when absent."""
    shared_numbers: NumberRegister | None = None
    """Series Numbers, where several data folders share them."""
    backlog: Backlog | None = None
    """The faster model for a backlog; None without one."""

    @property
    def numbers(self) -> NumberRegister:
        """Series Numbers in use in the studies of this node."""
        return self.shared_numbers or StoredNumbers(self.data.numbers)

    def segment(
        self,
        job: str,
        task: SeriesTask,
        *,
        urgent: bool = False,
        superseded: Sequence[Outcome] = (),
    ) -> SegmentResult:
        """Segment a series; return its outcome, and the deliveries that follow.

        Args:
            job: its name.
            task: the series.
            urgent: whether it goes before others on the device.
            superseded: outcomes of older jobs on the series, which the results name.

        Raises:
            SourceChanged: instances came again while they were read.
            DiedOfIt: the node has died of this series too often.
        """
        with self._placed(job, "segment", task) as seg:
            outcome = with_room(
                lambda: self._segment(job, task, seg, urgent, superseded),
                action="segment",
                series=task.series_uid,
            )
            if outcome.verdict is not Verdict.SEGMENTED:
                extra = {"action": "skip", "series": task.series_uid}
                logger.info("%s: %s", outcome.verdict, outcome.reason, extra=extra)
            deliveries = self._deliveries(task, outcome, seg, superseded)
        # Last: nothing of the result waits for it.
        self.on_result(job, task, outcome)
        return SegmentResult(outcome, deliveries)

    @contextmanager
    def _placed(self, job: str, action: str, task: SeriesTask) -> Iterator[Path]:
        """Yield the file for the SEG of a job, once the disk has room for its folder."""
        place = self.place or (lambda name: nullcontext(self.data.result(name)))
        with ExitStack() as stack:
            yield with_room(
                lambda: stack.enter_context(place(job)), action=action, series=task.series_uid
            )

    def _deliveries(
        self, task: SeriesTask, outcome: Outcome, seg: Path, superseded: Sequence[Outcome]
    ) -> tuple[DeliveryTask, ...]:
        """Write the notices of a series; return the deliveries of these and of its results."""
        series = task.series_uid
        deliveries = delivery_tasks(series, outcome, self.profiles)
        deliveries += with_room(
            lambda: withdrawals(deliveries, superseded, seg, self.profiles, self.numbers),
            action="withdraw",
            series=series,
        )
        return deliveries + with_room(
            lambda: outcome_receipts(task, outcome, seg, self.profiles, self.numbers),
            action="receipt",
            series=series,
        )

    def _segment(
        self, job: str, task: SeriesTask, seg: Path, urgent: bool, superseded: Sequence[Outcome]
    ) -> Outcome:
        series = task.series_uid
        origin = Origin(task.digest, predecessors(superseded), self.numbers)
        if task.not_chosen:
            return Outcome(Verdict.NOT_SELECTED, task.not_chosen, slices=len(task.paths))
        # Reserved inside: a job that waits for its turn to be tried alone needs no device yet.
        with errors_logged("segment", series), self.at_work(job), self.device_queue.reserved():
            try:
                if task.refusal:
                    raise UnsupportedSeries(task.refusal)
                outcome = self._run(
                    lambda setup: process(
                        task.paths,
                        seg,
                        replace(setup, device=self.device_queue.on(setup.device, urgent=urgent)),
                        series=series,
                        progress=lambda done, of: self.progress(job, done, of),
                        origin=origin,
                    ),
                    by_usual=urgent or task.asked,
                )
            except UnsupportedSeries as error:
                # A refusal is an answer, not a failure: done again it would be the same.
                outcome = Outcome(Verdict.REFUSED, str(error), slices=len(task.paths))
            require_unchanged(task)
        return outcome

    def _run(self, work: Callable[[SegmentationSetup], Outcome], *, by_usual: bool) -> Outcome:
        """Do a job with the model of the moment, or with the usual one whatever waits."""
        if self.backlog is None:
            return self.segmenter.run(work)
        return self.backlog.run(self.segmenter, work, by_usual=by_usual)

    def failed(self, job: str, task: SeriesTask, reason: str) -> tuple[DeliveryTask, ...]:
        """Return the receipts of a series whose work failed; none if it came again meanwhile."""
        try:
            require_unchanged(task)
        except SourceChanged:
            return ()
        with self._placed(job, "receipt", task) as seg:
            return with_room(
                lambda: failure_receipts(task, reason, seg, self.profiles, self.numbers),
                action="receipt",
                series=task.series_uid,
            )


def stacked(item: str, stack: str) -> str:
    """Return the name of a delivery's object: the item, and the stack where there are several."""
    return f"{item}-{stack}" if stack else item


def delivery_tasks(
    series_uid: str, outcome: Outcome, profiles: Mapping[str, Profile], holder: str = ""
) -> tuple[DeliveryTask, ...]:
    """Return what is to be sent of a series, to each of the peers with these profiles.

    Args:
        series_uid: the series.
        outcome: of the work on it.
        profiles: what each peer receives.
        holder: `SeriesTask.holder`.
    """
    return tuple(
        DeliveryTask(
            series_uid,
            peer,
            stacked(item.name, each.stack),
            item.file_beside(each.seg),
            item.kind,
            holder=holder,
            after=_sent_before(item, profile, each.stack),
        )
        for each in outcome.each
        if each.seg is not None
        for peer, profile in sorted(profiles.items())
        for item in profile.items
    )


def _sent_before(item: ResultObject, profile: Profile, stack: str) -> str:
    """Return the object that the peer must have first: a report refers to a SEG of its form."""
    seg = ResultObject(ObjectKind.SEG, item.form)
    refers = item.kind is ObjectKind.REPORT and seg in profile.items
    return stacked(seg.name, stack) if refers else ""


def require_unchanged(task: SeriesTask) -> None:
    """Return if the files are still those that the task was made of.

    Raises:
        SourceChanged: they are not, so that a result may be of old and new ones.
    """
    try:
        same = not task.digest or file_stamp(task.paths) == task.stamp
        if not same and not task.refusal:
            same = content_digest(task.paths) == task.digest  # copied or touched, but the same
    except FileNotFoundError:
        same = False
    if not same:
        raise SourceChanged(
            "instances of the series came again while it was computed; what came makes a job of"
            " its own"
        )


def predecessors(superseded: Sequence[Outcome]) -> tuple[Predecessor, ...]:
    """Return the objects that older jobs on a series made, as far as their files are there."""
    made = (each for outcome in superseded for each in outcome.each if each.seg is not None)
    files = [file for each in made for file in (each.seg, *each.files.values()) if file]
    references = [read_reference(file) for file in files if file.exists()]
    return tuple(
        Predecessor(each.study_uid, each.series_uid, each.sop_class_uid, each.instance_uid)
        for each in references
    )
