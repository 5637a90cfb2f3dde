"""The DICOM receiver: CT by C-STORE in every transfer syntax, storage commitment's reports, C-ECHO.

What is offered beyond CT and Enhanced CT is refused where the standard refuses it, when the
association is negotiated (PS3.8 9.3.3.2). An instance is answered with success once it is on the
disk, and with the reason, as a status, when it is not kept.
"""

from dataclasses import dataclass
from typing import cast

from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage
from pynetdicom import ALL_TRANSFER_SYNTAXES, _config, evt
from pynetdicom.events import Event
from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.net.commitments import Commitments, on_n_event_report
from dicom_node.net.connection import prepare_connection
from dicom_node.net.shutdown import ImmediateShutdownAE, end_unrequested
from dicom_node.receive.c_store_handler import CStoreHandler
from dicom_node.receive.events import NullReceiveEvents, ReceiveEvents
from dicom_node.receive.spool import Spool

VERIFICATION = UID("1.2.840.10008.1.1")
"""The SOP class of C-ECHO."""

STORAGE_COMMITMENT = UID("1.2.840.10008.1.20.1")
"""Push Model; an archive calls with its reports, in the role of the SCP (PS3.4 J.3.3)."""

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


def listen(
    ae_title: str,
    address: tuple[str, int],
    spool: Spool,
    listener: ReceiveEvents | None = None,
    limits: Limits = Limits(),
    commitments: Commitments | None = None,
) -> ThreadedAssociationServer:
    """Start receiving into `spool`; port 0 takes a free one.

    Returns:
        The running server. `server.socket.getsockname()` is its address; `server.ae.shutdown()`
        aborts what is open and ends it.
    """
    listener = listener or NullReceiveEvents()
    server = receiver(ae_title, limits).start_server(
        address,
        block=False,
        evt_handlers=[
            (evt.EVT_CONN_OPEN, prepare_connection, [limits.network_s, limits.pdu_bytes]),
            (evt.EVT_CONN_CLOSE, end_unrequested),
            *CStoreHandler(spool, listener, limits.associations).handlers(),
            (evt.EVT_N_EVENT_REPORT, on_n_event_report, [commitments or Commitments()]),
            (evt.EVT_RELEASED, on_closed, [listener]),
            (evt.EVT_ABORTED, on_closed, [listener]),
        ],
    )
    return cast(ThreadedAssociationServer, server)  # as it is when it does not block


def receiver(ae_title: str, limits: Limits = Limits()) -> ImmediateShutdownAE:
    """Return the application entity that receives, with all that it accepts."""
    ae = ImmediateShutdownAE(ae_title)
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


def on_closed(event: Event, listener: ReceiveEvents) -> None:
    """Tell the listener that nothing more comes from this association."""
    listener.association_closed(event.assoc)
