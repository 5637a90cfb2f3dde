"""Asking a peer what it has, by C-FIND (Study Root, PS3.4 C.6.2)."""

from collections.abc import Iterator

from pydicom import Dataset
from pydicom.uid import UID, ImplicitVRLittleEndian

from dicom_node.deliver.sop_reference import SopReference
from dicom_node.errors import NotKept, PeerRefused
from dicom_node.net.application_entity import ApplicationEntity

STUDY_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")

SUCCESS, PENDING = 0x0000, (0xFF00, 0xFF01)
"""Statuses of C-FIND (PS3.4 table C.4-1)."""


def find(peer: ApplicationEntity, identifier: Dataset) -> Iterator[Dataset]:
    """Yield what matches `identifier`.

    Raises:
        PeerUnavailable, PeerRefused: the peer does not answer, or not this question.
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


def require_found(peer: ApplicationEntity, wanted: SopReference) -> None:
    """Return if a search shows the object.

    Raises:
        NotKept: it does not.
        PeerUnavailable, PeerRefused: as `find` would.
    """
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID = wanted.study_uid
    identifier.SeriesInstanceUID = wanted.series_uid
    identifier.SOPInstanceUID = wanted.instance_uid
    found = {str(match.get("SOPInstanceUID")) for match in find(peer, identifier)}
    if wanted.instance_uid not in found:
        raise NotKept(f"a search in {peer.name} does not show {wanted.instance_uid}")
