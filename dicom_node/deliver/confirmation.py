"""Confirmation that a peer keeps an object: a C-STORE alone promises nothing (PS3.4 J.1)."""

import logging
from enum import StrEnum

from pydicom import Dataset

from dicom_node.deliver.confirm_by import ConfirmBy
from dicom_node.deliver.sop_reference import SopReference
from dicom_node.deliver.storage_commitment import require_committed
from dicom_node.errors import NotFoundYet, PeerSilent, PeerUnavailable, ServiceRefused
from dicom_node.net.application_entity import ApplicationEntity
from dicom_node.net.c_find_scu import find
from dicom_node.net.commitments import Commitments

logger = logging.getLogger(__name__)


class Confirmation(StrEnum):
    """Confirmation of a delivery."""

    WRITTEN = "written and synced"
    COMMITTED = "storage commitment"
    FOUND = "C-FIND"
    LISTED = "QIDO-RS"
    DELETED = "deleted"
    """Of superseded results: the peer has them no longer."""
    WORD = "accepted, not verified"
    """The peer offers no way to verify it, or the configuration asks for none."""


def confirm_by(
    means: ConfirmBy, peer: ApplicationEntity, wanted: SopReference, commitments: Commitments
) -> Confirmation:
    """Return how the peer confirmed that it keeps an object.

    Raises:
        NotKept: it reports that it does not, or a query does not show it.
        PeerUnavailable: no answer yet; ask again.
        PeerRefused: it will never answer that.
    """
    match means:
        case ConfirmBy.COMMITMENT:
            require_committed(peer, wanted, commitments)
            return Confirmation.COMMITTED
        case ConfirmBy.FIND:
            require_found(peer, wanted)
            return Confirmation.FOUND
        case ConfirmBy.AUTO:
            return _confirm_by_either(peer, wanted, commitments)
        case ConfirmBy.NONE:
            return Confirmation.WORD


def _confirm_by_either(
    peer: ApplicationEntity, wanted: SopReference, commitments: Commitments
) -> Confirmation:
    """Ask for storage commitment, else by a query; only a peer that refuses both is not verified.

    An abort, a timeout or a failure of the moment is no refusal: a restarting archive that lost
    the object would count as having it.
    """
    due: PeerUnavailable | None = None
    try:
        return confirm_by(ConfirmBy.COMMITMENT, peer, wanted, commitments)
    except ServiceRefused:
        pass
    except PeerUnavailable as error:  # it may yet report
        due = error
    try:
        return confirm_by(ConfirmBy.FIND, peer, wanted, commitments)
    except PeerSilent as error:  # as Orthanc does towards a caller that it does not know
        raise PeerSilent(
            f"{error}; if it goes on, make {peer.calling_ae_title} known there (Orthanc:"
            ' DicomModalities), or set its confirm to "none"'
        ) from error
    except ServiceRefused:
        if due:
            raise due from None
    logger.warning(
        "accepted, not verified: the peer refuses %s both storage commitment and queries",
        peer.calling_ae_title,
        extra={"action": "confirm", "peer": peer.name},
    )
    return Confirmation.WORD


def require_found(peer: ApplicationEntity, wanted: SopReference) -> None:
    """Return if a query shows the object.

    Raises:
        NotFoundYet: it does not; the archive may index late.
        PeerUnavailable, ServiceRefused: as `find` would.
    """
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID = wanted.study_uid
    identifier.SeriesInstanceUID = wanted.series_uid
    identifier.SOPInstanceUID = wanted.instance_uid
    # Compared here: a peer that does not know the key ignores it, and returns the whole series.
    found = {str(match.get("SOPInstanceUID")) for match in find(peer, identifier)}
    if wanted.instance_uid not in found:
        raise NotFoundYet(f"a search in {peer.name} does not show {wanted.instance_uid}")
