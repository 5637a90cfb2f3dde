"""Deliver results: each step sends one object to one peer, or asks whether the peer keeps it."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from dicom_node.audit.audit_event import AuditEvent, Study, deleted, sent
from dicom_node.audit.instances import study_of
from dicom_node.audit.trail import record
from dicom_node.deliver.attempts import ConfirmAnswer, Missing, SendAnswer
from dicom_node.deliver.confirmation import Confirmation
from dicom_node.deliver.peer_interface import DeletingPeer, Peer
from dicom_node.deliver.sop_reference import read_reference, read_selected
from dicom_node.errors import (
    BadCredentials,
    NodeError,
    NotFoundYet,
    NotKept,
    PeerRefused,
    PeerUnavailable,
    lacks_room,
)
from dicom_node.jobs.backoff import Backoff
from dicom_node.jobs.records import DeliveryTask
from dicom_node.jobs.steps.notice_delivery import WITHDRAWAL
from dicom_node.jobs.steps.step_errors import errors_logged
from dicom_node.jobs.viewer_link import seg_link
from dicom_node.pipeline.disk_room import with_room
from dicom_node.results.objects import ObjectKind, Profile, Superseded

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Deliverer:
    """Delivers results to peers."""

    peers: Mapping[str, Peer]
    profiles: Mapping[str, Profile]
    """Results that each of the peers receives."""
    backoff: Backoff
    viewer: str | None = None
    """`ViewerSection.url`, if there is a viewer."""

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

        with errors_logged(action, task.series_uid):
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
