"""Run the steps of the workflows. This is where a job's errors are logged, once."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from dicom_node.audit.audit_event import AuditEvent, Study, deleted, sent
from dicom_node.audit.instances import study_of
from dicom_node.audit.trail import record
from dicom_node.data_folder import DataFolder
from dicom_node.deliver.attempts import ConfirmAnswer, Missing, SendAnswer
from dicom_node.deliver.confirmation import Confirmation
from dicom_node.deliver.peer_interface import DeletingPeer, Peer
from dicom_node.deliver.sop_reference import read_reference, read_selected
from dicom_node.error_location import is_panic, unforeseen
from dicom_node.errors import (
    BadCredentials,
    NodeError,
    NotFoundYet,
    NotKept,
    PeerRefused,
    PeerUnavailable,
    SourceChanged,
    Unforeseen,
    UnsupportedSeries,
    lacks_room,
)
from dicom_node.jobs.backoff import Backoff
from dicom_node.jobs.content_digest import content_digest, file_stamp
from dicom_node.jobs.notice_delivery import (
    WITHDRAWAL,
    failure_receipts,
    outcome_receipts,
    withdrawals,
)
from dicom_node.jobs.records import DeliveryTask, SegmentResult, SeriesTask
from dicom_node.jobs.viewer_link import seg_link
from dicom_node.pipeline.disk_room import with_room
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.pipeline.process import Origin, process
from dicom_node.pipeline.segmenter import Segmenter
from dicom_node.results.attributes.model_run import Predecessor
from dicom_node.results.attributes.number_register import NumberRegister, StoredNumbers
from dicom_node.results.objects import ObjectKind, Profile, ResultObject, Superseded
from engine.errors import EngineError
from engine.serving.turns import DeviceQueue

logger = logging.getLogger(__name__)

JobProgress = Callable[[str, int, int], None]
"""Called with a job, the number of its slices that are computed, and of all of them."""


Answer = TypeVar("Answer")

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
    """Segments series and delivers results."""

    segmenter: Segmenter
    data: DataFolder
    peers: Mapping[str, Peer]
    profiles: Mapping[str, Profile]
    """Results that each of the peers receives."""
    backoff: Backoff
    progress: JobProgress
    viewer: str | None = None
    """`ViewerSection.url`, if there is a viewer."""
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
        with _errors_logged("segment", series), self.at_work(job), self.device_queue.reserved():
            try:
                if task.refusal:
                    raise UnsupportedSeries(task.refusal)
                outcome = self.segmenter.run(
                    lambda setup: process(
                        task.paths,
                        seg,
                        replace(setup, device=self.device_queue.on(setup.device, urgent=urgent)),
                        series=series,
                        progress=lambda done, of: self.progress(job, done, of),
                        origin=origin,
                    )
                )
            except UnsupportedSeries as error:
                # A refusal is an answer, not a failure: done again it would be the same.
                outcome = Outcome(Verdict.REFUSED, str(error), slices=len(task.paths))
            require_unchanged(task)
        return outcome

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

    def deliver(self, task: DeliveryTask) -> SendAnswer:
        """Send a result once.

        Raises:
            PeerRefused: the peer will never accept it, or is no longer configured.
        """
        begun = time.perf_counter()
        changed = self._ask(task, "deliver", "delivered", lambda: self._send(task))
        if isinstance(changed, NodeError):
            return SendAnswer(_reason(changed), **_policy(changed))
        seconds = time.perf_counter() - begun
        logger.info("done", extra={**_extra("deliver", task), "seconds": seconds})
        record(lambda: self._audited(task))
        return SendAnswer(seconds=seconds, changed=changed)

    def confirm(self, task: DeliveryTask) -> ConfirmAnswer:
        """Ask the peer once whether it keeps a result.

        Raises:
            PeerRefused: the peer will never confirm it, or is no longer configured.
        """
        begun = time.perf_counter()
        by = self._ask(task, "confirm", "confirmed", lambda: self._confirm(task))
        if isinstance(by, NodeError):
            return ConfirmAnswer(_reason(by), missing=_missing(by), **_policy(by))
        seconds = time.perf_counter() - begun
        logger.info("by %s", by, extra={**_extra("confirm", task), "seconds": seconds})
        if task.kind is ObjectKind.SEG:
            self._log_viewer_link(task)
        return ConfirmAnswer(by=str(by))

    def _send(self, task: DeliveryTask) -> str:
        peer = self._peer(task.peer)
        if not task.file.exists():
            raise NodeError(f"{task.item} is no longer kept; `hepar jobs redo` makes it again")
        if not self._deletes(task):
            return peer.send(task.file)
        if not isinstance(peer, DeletingPeer):
            raise PeerRefused(f'{peer.name} cannot delete; set its superseded to "reject"')
        for each in read_selected(task.file):
            peer.delete(each)
        return ""

    def _audited(self, task: DeliveryTask) -> AuditEvent:
        """Return the event that a delivery reached its peer."""
        study = study_of(read_reference(task.file).study_uid, [task.file])
        if not self._deletes(task):
            return sent(study, task.peer)
        # The file is the note that names what was deleted, and not itself deleted.
        return deleted(Study(study.uid), task.peer)

    def _deletes(self, task: DeliveryTask) -> bool:
        """Return whether a delivery deletes what its file names, in place of sending it."""
        # By the item's name, which is stored; the peer's profile is that of now.
        withdraws = task.item.startswith(WITHDRAWAL)
        return withdraws and self.profiles[task.peer].superseded is Superseded.DELETE

    def pauses(self) -> Iterator[float]:
        """Yield the seconds to wait after each failed attempt."""
        return self.backoff.pauses()

    def _confirm(self, task: DeliveryTask) -> Confirmation:
        peer = self._peer(task.peer)
        return Confirmation.DELETED if self._deletes(task) else peer.confirm(task.file)

    def _ask(
        self, task: DeliveryTask, action: str, done: str, ask: Callable[[], Answer]
    ) -> Answer | NodeError:
        """Return the answer of a peer, or the error that may pass by itself, once it is logged."""

        def once() -> Answer | NodeError:
            try:
                return ask()
            except NodeError as error:
                if not error.transient or lacks_room(error):
                    raise
                logger.warning("not %s yet: %s", done, error, extra=_extra(action, task))
                return error

        with _errors_logged(action, task.series_uid):
            return with_room(once, action=action, series=task.series_uid)

    def _log_viewer_link(self, task: DeliveryTask) -> None:
        result = read_reference(task.file)
        if link := seg_link(self.viewer, result.study_uid, result.series_uid):
            logger.info("see %s", link, extra={"action": "view", "series": task.series_uid})

    def _peer(self, name: str) -> Peer:
        if name not in self.peers:
            known = ", ".join(sorted(self.peers))
            raise PeerRefused(
                f"no peer {name!r} in the configuration, only {known}; add it and retry the job"
            )
        return self.peers[name]


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


def _extra(action: str, task: DeliveryTask) -> dict[str, str]:
    """Return the fields of a line on a delivery."""
    return {"action": action, "series": task.series_uid, "peer": task.peer}


def _reason(error: NodeError) -> str:
    return str(error) or type(error).__name__


def _policy(error: NodeError) -> dict[str, Any]:
    """Return what an error asks of the next attempt."""
    wait_s = error.wait_s if isinstance(error, PeerUnavailable) else 0.0
    return {"wait_s": wait_s, "credentials": isinstance(error, BadCredentials)}


def _missing(error: NodeError) -> Missing:
    if isinstance(error, NotFoundYet):
        return Missing.NOT_FOUND
    return Missing.DENIED if isinstance(error, NotKept) else Missing.NO


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


@contextmanager
def _errors_logged(action: str, series: str) -> Iterator[None]:
    """Log the error that ends a step and pass it on to the workflow store, which keeps it.

    Raises:
        Unforeseen: in place of an error that is none of ours, whose message may quote the file.
    """
    extra = {"action": action, "series": series}
    try:
        yield
    except (NodeError, EngineError, OSError) as error:
        if lacks_room(error):  # it is done again: see `with_room`
            raise
        logger.error("failed: %s", error, extra=extra)
        raise
    except BaseException as error:
        # One that ends the thread would leave the job "segmenting" for ever. Whatever else is no
        # Exception ends the process.
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        withheld = Unforeseen(unforeseen(error))
        logger.error("failed: %s", withheld, extra=extra)
        # `from None`: the chain would carry the words that are withheld.
        raise withheld from None
