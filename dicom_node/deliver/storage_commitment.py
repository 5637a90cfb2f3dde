"""Asking a peer to commit itself to an object (Storage Commitment Push Model, PS3.4 J.3)."""

from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.deliver.sop_reference import SopReference
from dicom_node.errors import NotKept, PeerRefused, PeerUnavailable
from dicom_node.net.application_entity import ApplicationEntity
from dicom_node.net.commitments import (
    COMMITTED,
    CommitmentRequest,
    Commitments,
    ReportOnAssociation,
)
from dicom_node.sop_classes import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE

REQUEST = 1
"""Action type of a request for storage commitment (PS3.4 table J.3.2-1)."""

SAME_ASSOCIATION_S = 5.0
"""How long the association stays open for the report; some peers call back only after its end."""

SOP_CLASS_NOT_SUPPORTED, DUPLICATE_TRANSACTION = 0x0122, 0x0131
REASONS = {
    0x0110: "processing failure",
    0x0112: "no such object",
    0x0119: "another SOP class",
    SOP_CLASS_NOT_SUPPORTED: "it does not commit itself to this SOP class",
    DUPLICATE_TRANSACTION: "duplicate transaction",
    0x0213: "resource limitation",
}
"""Failure reasons of a report (PS3.3 C.14.1.1)."""


def require_committed(
    peer: ApplicationEntity, wanted: SopReference, commitments: Commitments, report_s: float
) -> None:
    """Return once the peer has reported that it keeps the object.

    Raises:
        NotKept: it reported that it does not.
        PeerUnavailable: no report came within `report_s`; one that comes later is not lost.
        PeerRefused: it does not offer storage commitment, or not for this.
    """
    question = CommitmentRequest(peer.name, wanted.instance_uid)
    reason = commitments.answer(question, 0)
    if reason is None:
        reason = _ask(peer, wanted, commitments, question, report_s)
    if reason is None or reason == DUPLICATE_TRANSACTION:
        raise PeerUnavailable(
            f"{peer.name}: no report on the storage commitment within {report_s:g} s; see that"
            f" {peer.ae_title} knows the address of {peer.calling_ae_title}"
        )
    if reason == SOP_CLASS_NOT_SUPPORTED:
        raise PeerRefused(f"{peer.name}: {REASONS[reason]}; set its confirm to another way")
    if reason != COMMITTED:
        why = REASONS.get(reason, "a failure")
        raise NotKept(f"{peer.name} does not keep {wanted.instance_uid}: 0x{reason:04X} ({why})")


def _ask(
    peer: ApplicationEntity,
    wanted: SopReference,
    commitments: Commitments,
    question: CommitmentRequest,
    report_s: float,
) -> int | None:
    report = ReportOnAssociation(commitments)
    context = STORAGE_COMMITMENT, ImplicitVRLittleEndian
    with peer.associated([context], report.handlers()) as association:
        request = _request(commitments.ask(question), wanted)
        status, _ = association.send_n_action(
            request, REQUEST, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
        )
        if "Status" not in status:
            raise peer.silent(association)
        if status.Status != 0x0000:
            raise PeerRefused(
                f"{peer.name} answered the request for storage commitment with"
                f" 0x{status.Status:04X}; set its confirm to another way"
            )
        reason = commitments.answer(question, min(SAME_ASSOCIATION_S, report_s))
        report.wait_until_answered(peer.answer_s)
    if reason is None:
        reason = commitments.answer(question, max(report_s - SAME_ASSOCIATION_S, 0))
    return reason


def _request(transaction: str, wanted: SopReference) -> Dataset:
    item, request = Dataset(), Dataset()
    item.ReferencedSOPClassUID = wanted.sop_class_uid
    item.ReferencedSOPInstanceUID = wanted.instance_uid
    request.TransactionUID = transaction
    request.ReferencedSOPSequence = [item]
    return request
