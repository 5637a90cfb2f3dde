"""C-STORE responses, encoded at once.

pynetdicom makes a data set of each, which pydicom writes twice, once for its length: half a
millisecond of processor time for each slice (see docs/upstream.md).
"""

import struct
from typing import Any, cast

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import P_DATA

RESPONSE = 0x8001
"""Command Field of a C-STORE-RSP (PS3.7 E.1)."""
NO_DATA_SET = 0x0101
"""Command Data Set Type of a message without one (PS3.7 9.3.1.2)."""
LAST_OF_COMMAND = b"\x03"
"""Message control header of the last fragment of a command (PS3.8 E.2)."""
PDV_HEADER_BYTES = 6


def install_store_responses(event: Event) -> None:
    """Let a new association encode its responses here; to be bound to EVT_CONN_OPEN."""
    dimse = event.assoc.dimse
    as_before = dimse.send_msg

    def send_msg(primitive: Any, context_id: int) -> None:
        encoded = encoded_response(primitive)
        if encoded is None or not _fits(encoded, dimse):
            as_before(primitive, context_id)
            return
        sent = P_DATA()
        sent.presentation_data_value_list.append((context_id, LAST_OF_COMMAND + encoded))
        dimse.dul.send_pdu(sent)

    vars(dimse)["send_msg"] = send_msg


def encoded_response(primitive: Any) -> bytes | None:
    """Return the command set of a C-STORE response in Implicit VR Little Endian (PS3.7 6.3.1).

    None for another message, or one with further fields, as a refusal may have.
    """
    if not isinstance(primitive, C_STORE) or primitive.MessageIDBeingRespondedTo is None:
        return None
    if primitive.ErrorComment is not None or primitive.OffendingElement is not None:
        return None
    fields = primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID, primitive.Status
    if None in fields:
        return None
    elements = b"".join(
        (
            _uid(0x0002, cast(str, primitive.AffectedSOPClassUID)),
            _number(0x0100, RESPONSE),
            _number(0x0120, primitive.MessageIDBeingRespondedTo),
            _number(0x0800, NO_DATA_SET),
            _number(0x0900, cast(int, primitive.Status)),
            _uid(0x1000, cast(str, primitive.AffectedSOPInstanceUID)),
        )
    )
    # Command Group Length (0000,0000).
    return struct.pack("<HHII", 0, 0, 4, len(elements)) + elements


def _uid(element: int, uid: str) -> bytes:
    value = uid.encode("ascii")
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHI", 0, element, len(value)) + value


def _number(element: int, number: int) -> bytes:
    return struct.pack("<HHIH", 0, element, 2, number)


def _fits(encoded: bytes, dimse: DIMSEServiceProvider) -> bool:
    """Return whether the peer takes it in one PDU; 0 stands for no limit."""
    most = dimse.maximum_pdu_size
    return not most or len(encoded) + PDV_HEADER_BYTES <= most
