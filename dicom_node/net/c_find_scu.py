"""Queries by C-FIND, in the Study Root information model (PS3.4 C.6.2)."""

from collections.abc import Iterator

from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.errors import NodeError, PeerUnavailable, ServiceRefused
from dicom_node.net.application_entity import ApplicationEntity
from dicom_node.sop_classes import STUDY_ROOT_FIND

SUCCESS, PENDING = 0x0000, (0xFF00, 0xFF01)
"""Statuses of C-FIND (PS3.4 table C.4-1)."""

NOT_OFFERED = {0x0122, 0x0124, 0xA900}
"""Failures of a query that this peer will not answer any other day: class not supported, not
authorised, identifier does not match. Others (A700, Cxxx) can be of the moment."""


def find(peer: ApplicationEntity, identifier: Dataset) -> Iterator[Dataset]:
    """Yield the matches of `identifier`.

    Raises:
        PeerUnavailable: the peer does not answer, or could not process the query.
        ServiceRefused: it does not offer queries to this node.
    """
    with peer.associated([(STUDY_ROOT_FIND, ImplicitVRLittleEndian)]) as association:
        for status, match in association.send_c_find(identifier, STUDY_ROOT_FIND):
            # pynetdicom's sign of a peer that timed out, aborted, or answered with nonsense.
            if "Status" not in status:
                raise peer.silent(association)
            if status.Status in PENDING and match is not None:
                yield match
            elif status.Status not in (SUCCESS, *PENDING):
                raise _failure(peer, status)


def _failure(peer: ApplicationEntity, status: Dataset) -> NodeError:
    """Return the error for a peer that does not offer the query, or could not answer it now."""
    message = (
        f"{peer.name} answered a C-FIND with 0x{status.Status:04X}; let {peer.calling_ae_title}"
        " query it"
    )
    return ServiceRefused(message) if status.Status in NOT_OFFERED else PeerUnavailable(message)
