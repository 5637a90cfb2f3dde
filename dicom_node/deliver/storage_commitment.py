"""Requests for storage commitment (Storage Commitment Push Model, PS3.4 J.3)."""

from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.deliver.sop_reference import SopReference
from dicom_node.errors import (
    NodeError,
    NotKept,
    PeerRefused,
    PeerUnavailable,
    ServiceRefused,
)
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

REPORT_S = 30.0
"""Seconds to wait for the report on one storage commitment request."""

SAME_ASSOCIATION_S = 5.0
"""Seconds the association stays open for the report; some peers open their own after its end."""

CLASS_CONFLICT, SOP_CLASS_NOT_SUPPORTED, DUPLICATE_TRANSACTION = 0x0119, 0x0122, 0x0131
REASONS = {
    0x0110: "processing failure",
    0x0112: "no such object",
    CLASS_CONFLICT: "it has an object of another SOP class under this UID",
    SOP_CLASS_NOT_SUPPORTED: "it does not commit itself to this SOP class",
    DUPLICATE_TRANSACTION: "duplicate transaction",
    0x0213: "resource limitation",
}
"""Failure reasons of a report (PS3.3 C.14.1.1)."""

OF_THE_MOMENT = {0x0110, 0x0213}
"""Answers to a request (PS3.7 10.1.4.1.10) that do not mean that the service is not offered:
processing failure, resource limitation."""


def require_committed(
    peer: ApplicationEntity, wanted: SopReference, commitments: Commitments
) -> None:
    """Return once the peer has reported that it keeps the object.

    Raises:
        NotKept: it reported that it does not.
        PeerUnavailable: no report came within `REPORT_S` (one that comes later is not lost), or
            the peer did not answer.
        ServiceRefused: it does not offer storage commitment, or not for this SOP class.
        PeerRefused: it has another object under this UID; no second copy would change that.
    """
    question = CommitmentRequest(peer.name, wanted.instance_uid)
    # First what came meanwhile: a report may arrive minutes after the attempt that asked for it.
    reason = commitments.answer(question, 0)
    if reason is None:
        reason = _ask(peer, wanted, commitments, question)
    # The latter says nothing of the object: the next attempt asks under a new Transaction UID.
    if reason is None or reason == DUPLICATE_TRANSACTION:
        raise PeerUnavailable(
            f"{peer.name}: no report on the storage commitment within {REPORT_S:g} s; see that"
            f" {peer.ae_title} knows the address of {peer.calling_ae_title}"
        )
    if reason == SOP_CLASS_NOT_SUPPORTED:
        raise ServiceRefused(f"{peer.name}: {REASONS[reason]}; set its confirm to another way")
    if reason == CLASS_CONFLICT:
        raise PeerRefused(
            f"{peer.name} does not keep {wanted.instance_uid}: 0x{reason:04X} ({REASONS[reason]});"
            " remove that object there, then retry"
        )
    if reason != COMMITTED:
        why = REASONS.get(reason, "a failure")
        raise NotKept(f"{peer.name} does not keep {wanted.instance_uid}: 0x{reason:04X} ({why})")


def _ask(
    peer: ApplicationEntity,
    wanted: SopReference,
    commitments: Commitments,
    question: CommitmentRequest,
) -> int | None:
    report = ReportOnAssociation(commitments)
    context = STORAGE_COMMITMENT, ImplicitVRLittleEndian
    with peer.associated([context], report.handlers()) as association:
        # Noted before it is sent: the report may come before the answer to the request.
        request = _request(commitments.ask(question), wanted)
        status, _ = association.send_n_action(
            request, REQUEST, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
        )
        if "Status" not in status:
            raise peer.silent(association)
        if status.Status != 0x0000:
            raise _refusal(peer, status.Status)
        reason = commitments.answer(question, min(SAME_ASSOCIATION_S, REPORT_S))
        # The report's own answer has to leave before the association ends; the peer would repeat
        # it, or count it as failed.
        report.wait_until_answered(peer.answer_s)
    if reason is None:
        reason = commitments.answer(question, max(REPORT_S - SAME_ASSOCIATION_S, 0))
    return reason


def _refusal(peer: ApplicationEntity, status: int) -> NodeError:
    message = (
        f"{peer.name} answered the request for storage commitment with 0x{status:04X}; set its"
        " confirm to another way"
    )
    return PeerUnavailable(message) if status in OF_THE_MOMENT else ServiceRefused(message)


def _request(transaction: str, wanted: SopReference) -> Dataset:
    item, request = Dataset(), Dataset()
    item.ReferencedSOPClassUID = wanted.sop_class_uid
    item.ReferencedSOPInstanceUID = wanted.instance_uid
    request.TransactionUID = transaction
    request.ReferencedSOPSequence = [item]
    return request
