"""DICOM receiver: CT by C-STORE in every transfer syntax, storage commitment reports, C-ECHO.

SOP Classes other than those in `Limits.stored` are refused when the association is negotiated
(PS3.8 9.3.3.2). An instance is answered with success once it is on the disk; if it is not kept, the
status gives the reason.
"""

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, SegmentationStorage
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ASSOCIATE

from dicom_node.audit.audit_event import refused
from dicom_node.audit.trail import record
from dicom_node.net.admission.server import AdmissionServer, PortSharingServer
from dicom_node.net.callers import Caller, CallerIdentity, Service, certificate_names, find_caller
from dicom_node.net.commitments import Commitments, on_n_event_report
from dicom_node.net.connection import prepare_connection
from dicom_node.net.data_set_file import LargeDataSets
from dicom_node.net.pynetdicom_settings import configure_pynetdicom
from dicom_node.net.reactor import install_reactor_wait
from dicom_node.net.shutdown import ImmediateShutdownAE, end_unrequested
from dicom_node.net.store_responses import install_store_responses
from dicom_node.receive.c_store_handler import CStoreHandler
from dicom_node.receive.events import NullReceiveEvents, ReceiveEvents
from dicom_node.receive.pace import Paces
from dicom_node.receive.spool import ACCEPTED, REJECTED, Spool, Tally
from dicom_node.sop_classes import LABEL_MAP_SEGMENTATION, STORAGE_COMMITMENT, VERIFICATION

logger = logging.getLogger(__name__)

STORED: tuple[UID, ...] = (CTImageStorage, EnhancedCTImageStorage)
"""SOP classes of the instances that are segmented."""

CORRECTIONS: tuple[UID, ...] = (SegmentationStorage, LABEL_MAP_SEGMENTATION)
"""SOP classes of what people made of results."""

RECEIVED = STORED + CORRECTIONS
"""SOP classes that a node keeps."""

SERVICES: dict[UID | None, Service] = {
    VERIFICATION: Service.ECHO,
    STORAGE_COMMITMENT: Service.COMMITMENT,
}
"""Services that are not storage, by SOP class."""

LOCAL_LIMIT = 0x02, 0x03, 0x02
"""Transient, by the provider, local limit exceeded (PS3.8 table 9-21)."""

ENDING = 256
"""Associations that may be ending at a time without counting as open."""


@dataclass(frozen=True)
class Limits:
    """Limits of the receiver."""

    associations: int = 32
    """Open at the same time; further ones are rejected with "local limit exceeded"."""
    per_host: int = 24
    """Open at the same time from one address."""
    reserved: int = 4
    """Of `associations`, for callers in `known`."""
    known: frozenset[str] = frozenset()
    """AE titles of callers that are never kept out by others."""
    callers: tuple[Caller, ...] = ()
    """Who is admitted; anybody where there are none."""
    stored: tuple[UID, ...] = STORED
    """SOP classes of the instances that are kept."""
    itself: Caller | None = None
    """The node, which is always admitted, and never kept out by others."""
    closed: Callable[[], bool] = lambda: False
    """Whether associations are rejected for now, all but the node's own for C-ECHO."""
    pdu_bytes: int = 131072
    """Maximum length announced to senders; pynetdicom's 16382 costs at least a tenth of the
    throughput."""
    acse_s: float = 30.0
    """From the TCP connection to the association request."""
    dimse_s: float = 30.0
    """For the answer to a message that the receiver sends."""
    network_s: float = 60.0
    """Silence on an open association, also in the middle of a PDU, after which it is aborted."""
    share_port: bool = False
    """Whether other processes may listen on the same port, too; Linux alone spreads callers among
    them."""


def listen(
    ae_title: str,
    address: tuple[str, int],
    spool: Spool,
    listener: ReceiveEvents | None = None,
    limits: Limits = Limits(),
    commitments: Commitments | None = None,
    tls: Callable[[], ssl.SSLContext] | None = None,
) -> AdmissionServer:
    """Start receiving into `spool`; port 0 takes a free one.

    Returns:
        The running server. `server.socket.getsockname()` is its address; `server.ae.shutdown()`
        aborts the open associations and ends it.

    Raises:
        OSError: the address is taken, or not one of this machine.
    """
    configure_pynetdicom()
    listener = listener or NullReceiveEvents()
    paces = Paces(limits.callers)
    large = LargeDataSets(spool.folder, spool.keep_free_bytes)
    server = receiver(ae_title, limits).make_server(
        address,
        server_class=PortSharingServer if limits.share_port else AdmissionServer,
        evt_handlers=[
            (evt.EVT_CONN_OPEN, prepare_connection, [limits.network_s, limits.pdu_bytes, large]),
            (evt.EVT_CONN_OPEN, install_reactor_wait),
            (evt.EVT_CONN_OPEN, install_store_responses),
            (evt.EVT_REQUESTED, on_requested, [limits, paces]),
            (evt.EVT_CONN_CLOSE, end_unrequested),
            *CStoreHandler(spool, listener, limits.associations, paces).handlers(),
            (evt.EVT_N_EVENT_REPORT, on_n_event_report, [commitments or Commitments()]),
            (evt.EVT_ACCEPTED, on_answered, [spool.tally, ACCEPTED]),
            (evt.EVT_REJECTED, on_answered, [spool.tally, REJECTED]),
            (evt.EVT_RELEASED, on_closed, [listener]),
            (evt.EVT_ABORTED, on_closed, [listener]),
        ],
    )
    server = cast(AdmissionServer, server)
    # `on_requested` counts; pynetdicom also counts those that are being rejected.
    server.ae.maximum_associations = 2 * limits.associations + ENDING
    server.open(limits.acse_s, tls)
    return server


def receiver(ae_title: str, limits: Limits = Limits()) -> ImmediateShutdownAE:
    """Return the application entity of the receiver, with every presentation context it accepts."""
    ae = ImmediateShutdownAE(ae_title)
    ae.maximum_associations = limits.associations
    ae.maximum_pdu_size = limits.pdu_bytes
    ae.acse_timeout = limits.acse_s
    ae.dimse_timeout = limits.dimse_s
    ae.network_timeout = limits.network_s
    ae.add_supported_context(VERIFICATION)
    # Reports come from an archive, in the role of the SCP (PS3.4 J.3.3).
    ae.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=True)
    for storage in limits.stored:
        ae.add_supported_context(storage, ALL_TRANSFER_SYNTAXES)
    return ae


def on_requested(event: Event, limits: Limits, paces: Paces) -> None:
    """Reject a request of an unknown caller, or beyond the limits of its host or of all.

    Of an admitted one, nothing is negotiated but what its caller may do.
    """
    association = event.assoc
    shown = _identity(association)
    # Before the list of callers: the node's own checks must pass whoever is admitted.
    own = limits.itself is not None and limits.itself.matches(shown)
    caller = limits.itself if own else find_caller(limits.callers, shown)
    if caller is None:
        logger.warning(
            "association rejected: %s at %s calling %s is not among the callers",
            *(shown.calling, shown.host, shown.called),
            extra={"action": "association_rejected"},
        )
        record(lambda: refused(shown.calling, shown.host))
        # Permanent, by the user, calling AE title not recognised (PS3.8 table 9-21).
        _reject(association, (0x01, 0x01, 0x03))
        return
    association.acceptor.supported_contexts = [
        each
        for each in association.acceptor.supported_contexts
        if SERVICES.get(each.abstract_syntax, Service.STORE) in caller.may
    ]
    paces.begin(association, caller)
    if limits.closed() and not (own and _asks_for_echo_alone(association)):
        logger.warning("association rejected: draining", extra={"action": "association_rejected"})
        _reject(association, LOCAL_LIMIT)
        return
    others = [each for each in open_associations(association.ae) if each is not association]
    from_host = [each for each in others if each.requestor.address == shown.host]
    known = own or shown.calling in limits.known
    # At least one place is left for everybody else.
    reserved = min(limits.reserved, limits.associations - 1) if limits.known else 0
    full = len(others) >= limits.associations - (0 if known else reserved)
    if full or (len(from_host) >= limits.per_host and not known):
        logger.warning(
            "association rejected: %d open, %d of them from its host",
            len(others),
            len(from_host),
            extra={"action": "association_rejected"},
        )
        _reject(association, LOCAL_LIMIT)


def open_associations(ae: AE) -> list[Association]:
    """Return the associations that have not ended."""
    # pynetdicom lists an association until its thread has ended, also a rejected one, and one whose
    # request could not be read, up to `acse_s`.
    return [
        each
        for each in ae.active_associations
        if each.requestor.primitive is not None
        and not (each.is_rejected or each.is_aborted or each.is_released)
    ]


def _asks_for_echo_alone(association: Association) -> bool:
    asked = cast(A_ASSOCIATE, association.requestor.primitive).presentation_context_definition_list
    return {each.abstract_syntax for each in asked} == {VERIFICATION}


def _reject(association: Association, reason: tuple[int, int, int]) -> None:
    """Answer with result, source and reason, as pynetdicom itself does."""
    association.acse.send_reject(*reason)
    evt.trigger(association, evt.EVT_REJECTED, {})
    association.kill()


def on_answered(event: Event, tally: Tally, outcome: str) -> None:
    """Count an association that was accepted or rejected."""
    tally.add_association(outcome)


def _identity(association: Association) -> CallerIdentity:
    primitive = cast(A_ASSOCIATE, association.requestor.primitive)
    wire = association.dul.socket
    return CallerIdentity(
        primitive.calling_ae_title.strip(),
        primitive.called_ae_title.strip(),
        association.requestor.address,
        certificate_names(wire.socket if wire else None),
    )


def on_closed(event: Event, listener: ReceiveEvents) -> None:
    """Notify the listener that nothing more comes from this association."""
    listener.association_closed(event.assoc)
