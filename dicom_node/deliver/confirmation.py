"""How a peer confirms that it keeps what it took: a C-STORE alone promises nothing (PS3.4 J.1)."""

import logging
from enum import StrEnum

from pydicom import Dataset

from dicom_node.deliver.confirm_by import ConfirmBy
from dicom_node.deliver.sop_reference import SopReference
from dicom_node.deliver.storage_commitment import require_committed
from dicom_node.errors import NotKept, PeerRefused, PeerSilent, PeerUnavailable
from dicom_node.net.application_entity import ApplicationEntity
from dicom_node.net.c_find_scu import find
from dicom_node.net.commitments import Commitments

logger = logging.getLogger(__name__)

REPORT_S = 30.0
"""How long one request for storage commitment waits for its report."""


class Confirmation(StrEnum):
    """How a delivery was confirmed."""

    WRITTEN = "written and synced"
    COMMITTED = "storage commitment"
    FOUND = "C-FIND"
    LISTED = "QIDO-RS"
    WORD = "its word alone"


def confirm_by(
    means: ConfirmBy, peer: ApplicationEntity, wanted: SopReference, commitments: Commitments
) -> Confirmation:
    """Return how the peer confirmed that it keeps an object.

    Raises:
        NotKept: it says that it does not; to be sent again.
        PeerUnavailable: no word of it yet; to be asked again.
        PeerRefused: it will not tell.
    """
    match means:
        case ConfirmBy.COMMITMENT:
            require_committed(peer, wanted, commitments, REPORT_S)
            return Confirmation.COMMITTED
        case ConfirmBy.FIND:
            require_found(peer, wanted)
            return Confirmation.FOUND
        case ConfirmBy.AUTO:
            return _confirm_somehow(peer, wanted, commitments)
        case ConfirmBy.NONE:
            return Confirmation.WORD


def _confirm_somehow(
    peer: ApplicationEntity, wanted: SopReference, commitments: Commitments
) -> Confirmation:
    promised: PeerUnavailable | None = None
    try:
        return confirm_by(ConfirmBy.COMMITMENT, peer, wanted, commitments)
    except (PeerRefused, PeerSilent):  # it has no storage commitment, or not for us
        pass
    except PeerUnavailable as error:  # it may yet report
        promised = error
    try:
        return confirm_by(ConfirmBy.FIND, peer, wanted, commitments)
    except (PeerRefused, PeerSilent):
        if promised:
            raise promised from None
        logger.warning(
            "it offers neither storage commitment nor a search to %s, so it is taken at its word",
            peer.calling_ae_title,
            extra={"action": "confirm", "peer": peer.name},
        )
        return Confirmation.WORD


def require_found(peer: ApplicationEntity, wanted: SopReference) -> None:
    """Return if a query shows the object.

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
