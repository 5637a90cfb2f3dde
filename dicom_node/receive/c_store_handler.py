"""C-STORE handler: an instance is on the disk, or refused with a status.

Writing begins as soon as a message has come whole, in a thread of its own, so that the disk works
while pynetdicom makes a primitive of the message and hands it over.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import cast
from weakref import WeakKeyDictionary

from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.events import Event, EventHandlerType
from pynetdicom.presentation import PresentationContext

from dicom_node.errors import RejectedInstance, StoreStatus
from dicom_node.net.data_set_file import DataSetBytes, content
from dicom_node.net.unnamed_instances import refuse_unnamed
from dicom_node.receive.events import Association, ReceiveEvents
from dicom_node.receive.header import (
    InstanceIdentifiers,
    read_header,
    require_uid,
    without_file_meta,
)
from dicom_node.receive.pace import Paces
from dicom_node.receive.part10 import Part10, to_part10
from dicom_node.receive.spool import Spool, not_kept

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Instance:
    """One instance as received: its bytes, and the fields of the request and the context."""

    data_set: DataSetBytes | OSError
    """What came, or why it could not be kept while it came."""
    sop_class_uid: str
    uid: str
    agreed_class_uid: str
    """SOP class of the presentation context."""
    transfer_syntax: UID
    sender: str
    """AE title of who sent it."""

    def checked_header(self) -> InstanceIdentifiers:
        """Return the identifiers in the data set.

        Raises:
            RejectedInstance: there is none, or request, context and data set contradict each other.
        """
        # Or anything could be sent under a context that was negotiated for CT.
        if self.sop_class_uid != self.agreed_class_uid:
            raise RejectedInstance(
                f"SOP class {self.sop_class_uid} sent as {self.agreed_class_uid}",
                StoreStatus.SOP_CLASS_NOT_SUPPORTED,
            )
        require_uid("Affected SOP Instance UID", self.uid, StoreStatus.INVALID_OBJECT_INSTANCE)
        header = read_header(self._kept(), self.transfer_syntax)
        _require_same("SOP class", header.sop_class_uid, self.sop_class_uid)
        _require_same("SOP instance", header.instance_uid, self.uid)
        return header

    def to_part10(self) -> Part10:
        """Return it as a file.

        Raises:
            RejectedInstance: it could not be kept while it came, or cannot be read.
        """
        data_set = without_file_meta(self._kept(), self.transfer_syntax)
        return to_part10(data_set, self.sop_class_uid, self.uid, self.transfer_syntax, self.sender)

    def _kept(self) -> DataSetBytes:
        if isinstance(self.data_set, OSError):
            raise not_kept(self.uid, self.data_set)
        return self.data_set


class CStoreHandler:
    """Keeps the instances of every association in one spool."""

    def __init__(
        self, spool: Spool, listener: ReceiveEvents, at_once: int = 1, paces: Paces | None = None
    ) -> None:
        """Keep up to `at_once` instances at the same time, and answer callers at their paces."""
        self._spool = spool
        self._paces = paces or Paces()
        self._listener = listener
        self._threads = ThreadPoolExecutor(at_once, "intake")
        # Weak: an association that is aborted between its two events leaves nothing behind. Its
        # requests under way differ in Message ID (PS3.7 9.1.1.1.1).
        self._begun: WeakKeyDictionary[Association, dict[int, Future[StoreStatus]]]
        self._begun = WeakKeyDictionary()

    def handlers(self) -> Sequence[EventHandlerType]:
        """Return what an association must call."""
        return (evt.EVT_DIMSE_RECV, self.on_dimse_received), (evt.EVT_C_STORE, self.on_c_store)

    def on_dimse_received(self, event: Event) -> None:
        """Begin to write an instance as soon as its message is complete."""
        message = event.message
        if not isinstance(message, C_STORE_RQ):
            return
        if refuse_unnamed(event, StoreStatus.INVALID_OBJECT_INSTANCE):
            _log_refusal("", "the request has no Affected SOP Instance UID")
            return
        sender, number = event.assoc, message.command_set.MessageID
        for context in sender.accepted_contexts:
            if context.context_id == message.context_id:
                instance = _instance(message, context, str(sender.requestor.ae_title))
                kept = self._threads.submit(self._keep, sender, instance)
                self._begun.setdefault(sender, {})[number] = kept

    def on_c_store(self, event: Event) -> StoreStatus:
        """Answer success once the instance is on the disk, or with the status of its refusal."""
        number = cast(int, event.request.MessageID)
        # Raises what `_keep` did not foresee; pynetdicom then answers C211.
        status = self._begun[event.assoc].pop(number).result()
        self._paces.wait(event.assoc)
        return status

    def _keep(self, sender: Association, instance: Instance) -> StoreStatus:
        try:
            header = instance.checked_header()
            self._spool.put(header.series, instance.uid, instance.to_part10())
        except RejectedInstance as error:
            _log_refusal(instance.uid, str(error))
            return error.status
        # Before the answer: after it the sender may close the association at once.
        self._listener.instance_kept(sender, header.series)
        return StoreStatus.SUCCESS


def _instance(message: C_STORE_RQ, context: PresentationContext, sender: str) -> Instance:
    command = message.command_set
    return Instance(
        data_set=_data_set(message),
        sop_class_uid=str(command.get("AffectedSOPClassUID", "")),
        # Padded to even length with a null (PS3.5 9.1), by some senders with a space.
        uid=str(command.AffectedSOPInstanceUID).strip("\0 "),
        agreed_class_uid=str(context.abstract_syntax),
        transfer_syntax=UID(context.transfer_syntax[0]),
        sender=sender,
    )


def _data_set(message: C_STORE_RQ) -> DataSetBytes | OSError:
    try:
        return content(cast(BytesIO, message.data_set))
    except OSError as error:
        return error


def _require_same(what: str, in_data_set: str, in_request: str) -> None:
    if in_data_set != in_request:
        raise RejectedInstance(
            f"{what} {in_data_set} in the data set, {in_request} in the request",
            StoreStatus.DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
        )


def _log_refusal(instance_uid: str, reason: str) -> None:
    logger.warning(
        "store refused: %s", reason, extra={"action": "store_refused", "sop_instance": instance_uid}
    )
