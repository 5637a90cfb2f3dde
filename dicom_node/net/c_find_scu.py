"""Queries by C-FIND, in the Study Root information model (PS3.4 C.6.2)."""

from collections.abc import Iterator

from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.errors import PeerRefused
from dicom_node.net.application_entity import ApplicationEntity
from dicom_node.sop_classes import STUDY_ROOT_FIND

SUCCESS, PENDING = 0x0000, (0xFF00, 0xFF01)
"""Statuses of C-FIND (PS3.4 table C.4-1)."""


def find(peer: ApplicationEntity, identifier: Dataset) -> Iterator[Dataset]:
    """Yield the matches of `identifier`.

    Raises:
        PeerUnavailable: the peer does not answer.
        PeerRefused: it rejects the association or answers with a failure.
    """
    with peer.associated([(STUDY_ROOT_FIND, ImplicitVRLittleEndian)]) as association:
        for status, match in association.send_c_find(identifier, STUDY_ROOT_FIND):
            if "Status" not in status:
                raise peer.silent(association)
            if status.Status in PENDING and match is not None:
                yield match
            elif status.Status not in (SUCCESS, *PENDING):
                raise PeerRefused(
                    f"{peer.name} answered a C-FIND with 0x{status.Status:04X}; let"
                    f" {peer.calling_ae_title} query it"
                )
