"""C-STORE requests without Affected SOP Instance UID (0000,1000).

pynetdicom drops them without an answer, and the sender waits until it gives up; see
docs/upstream.md.
"""

from typing import cast

from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event


def refuse_unnamed(event: Event, status: int) -> bool:
    """Answer a C-STORE request that names no instance; return whether it was one.

    Args:
        event: that its message has come (EVT_DIMSE_RECV).
        status: of the answer.
    """
    command = event.message.command_set
    if command.get("AffectedSOPInstanceUID"):
        return False
    response = C_STORE()
    response.MessageIDBeingRespondedTo = command.MessageID
    # Affected SOP Instance UID stays out, as there is none to repeat.
    response.AffectedSOPClassUID = command.get("AffectedSOPClassUID")
    response.Status = status
    event.assoc.dimse.send_msg(response, cast(int, event.message.context_id))
    return True
