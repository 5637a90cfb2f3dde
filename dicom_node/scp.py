"""The DICOM receiver: CT by C-STORE in every transfer syntax, storage commitment's reports, C-ECHO.

What is offered beyond CT and Enhanced CT is refused where the standard refuses it, when the
association is negotiated (PS3.8 9.3.3.2). An instance is answered with success once it is on the
disk, and with the reason, as a status, when it is not kept.
"""

import logging
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol, cast

from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, _config, evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.commitments import Commitments, on_n_event_report
from dicom_node.errors import RejectedInstance, StoreStatus
from dicom_node.header import SeriesKey, is_uid, read_header
from dicom_node.part10 import to_part10
from dicom_node.spool import Spool
from dicom_node.wire import on_connection

VERIFICATION = UID("1.2.840.10008.1.1")
"""The SOP class of C-ECHO."""

STORAGE_COMMITMENT = UID("1.2.840.10008.1.20.1")
"""Push Model; an archive calls with its reports, in the role of the SCP (PS3.4 J.3.3)."""

logger = logging.getLogger(__name__)

_config.LOG_HANDLER_LEVEL = "none"  # its handlers format every PDU, also when nobody logs them


@dataclass(frozen=True)
class Limits:
    """What one sender may ask of the receiver."""

    associations: int = 32
    """Open at the same time; one more is rejected as "local limit exceeded"."""
    pdu_bytes: int = 131072
    """Largest PDU that is offered; pynetdicom's 16382 costs a tenth of the throughput and more."""
    acse_s: float = 30.0
    """From the TCP connection to the association request."""
    dimse_s: float = 30.0
    """For the answer to a message of ours."""
    network_s: float = 60.0
    """Silence on an open association, also in the middle of a PDU, before it is aborted."""


class Listener(Protocol):
    """Hears what becomes of associations; must return at once."""

    def instance_kept(self, association: "Association", series: SeriesKey) -> None:
        """An instance of this series is safe, and its sender will be told."""

    def association_closed(self, association: "Association") -> None:
        """The association was released, aborted or lost."""


class Association(Hashable, Protocol):
    """Whoever sends, known by identity."""

    def is_alive(self) -> bool:
        """Tell whether more may still come; pynetdicom's association is a thread."""


class Deaf:
    """A listener that does not listen."""

    def instance_kept(self, association: Association, series: SeriesKey) -> None:
        """Do nothing."""

    def association_closed(self, association: Association) -> None:
        """Do nothing."""


def listen(
    ae_title: str,
    address: tuple[str, int],
    spool: Spool,
    listener: Listener | None = None,
    limits: Limits = Limits(),
    commitments: Commitments | None = None,
) -> ThreadedAssociationServer:
    """Start receiving into `spool`; port 0 takes a free one.

    Returns:
        The running server. `server.socket.getsockname()` is its address; `server.ae.shutdown()`
        aborts what is open and ends it.
    """
    listener = listener or Deaf()
    server = receiver(ae_title, limits).start_server(
        address,
        block=False,
        evt_handlers=[
            (evt.EVT_CONN_OPEN, on_connection, [limits.network_s, limits.pdu_bytes]),
            (evt.EVT_DIMSE_RECV, on_message),
            (evt.EVT_C_STORE, on_c_store, [spool, listener]),
            (evt.EVT_N_EVENT_REPORT, on_n_event_report, [commitments or Commitments()]),
            (evt.EVT_RELEASED, on_closed, [listener]),
            (evt.EVT_ABORTED, on_closed, [listener]),
        ],
    )
    return cast(ThreadedAssociationServer, server)  # as it is when it does not block


def receiver(ae_title: str, limits: Limits = Limits()) -> AE:
    """Return the application entity that receives, with all that it accepts."""
    ae = AE(ae_title)
    ae.maximum_associations = limits.associations
    ae.maximum_pdu_size = limits.pdu_bytes
    ae.acse_timeout = limits.acse_s
    ae.dimse_timeout = limits.dimse_s
    ae.network_timeout = limits.network_s
    ae.add_supported_context(VERIFICATION)
    ae.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=True)
    for storage in (CTImageStorage, EnhancedCTImageStorage):
        ae.add_supported_context(storage, ALL_TRANSFER_SYNTAXES)
    return ae


def on_message(event: Event) -> None:
    """Answer a C-STORE that names no instance, which pynetdicom would leave unanswered."""
    message = event.message
    if not isinstance(message, C_STORE_RQ) or message.command_set.get("AffectedSOPInstanceUID"):
        return
    response = C_STORE()
    response.MessageIDBeingRespondedTo = message.command_set.MessageID
    response.AffectedSOPClassUID = message.command_set.get("AffectedSOPClassUID")
    response.Status = StoreStatus.INVALID_OBJECT_INSTANCE
    event.assoc.dimse.send_msg(response, cast(int, message.context_id))
    _log_refusal("", "the request has no Affected SOP Instance UID")


def on_c_store(event: Event, spool: Spool, listener: Listener) -> StoreStatus:
    """Keep one instance as the bytes that came; answer success once it is safe."""
    request, syntax = cast(C_STORE, event.request), UID(event.context.transfer_syntax)
    sop_class, uid = str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)
    data_set = event.encoded_dataset(include_meta=False)
    try:
        _check_request(sop_class, uid, event.context.abstract_syntax)
        header = read_header(data_set, syntax)
        _require_same("SOP class", header.sop_class_uid, sop_class)
        _require_same("SOP instance", header.instance_uid, uid)
        spool.put(header.series, uid, to_part10(data_set, sop_class, uid, syntax))
    except RejectedInstance as error:
        _log_refusal(uid, str(error))
        return error.status
    listener.instance_kept(event.assoc, header.series)
    return StoreStatus.SUCCESS


def on_closed(event: Event, listener: Listener) -> None:
    """Tell the listener that nothing more comes from this association."""
    listener.association_closed(event.assoc)


def _check_request(sop_class: str, instance_uid: str, agreed: str) -> None:
    if sop_class != agreed:
        raise RejectedInstance(
            f"SOP class {sop_class} sent as {agreed}", StoreStatus.SOP_CLASS_NOT_SUPPORTED
        )
    if not is_uid(instance_uid):
        raise RejectedInstance(
            f"{instance_uid!r} is not a UID", StoreStatus.INVALID_OBJECT_INSTANCE
        )


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
