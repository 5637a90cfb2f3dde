"""Services, presentation contexts and statuses of the node."""

from collections.abc import Iterator, Mapping, Sequence

from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    ImplicitVRLittleEndian,
    KeyObjectSelectionDocumentStorage,
)
from pynetdicom import ALL_TRANSFER_SYNTAXES
from pynetdicom.presentation import PresentationContext

from dicom_node.conformance.examples import Example
from dicom_node.conformance.markdown import code, table
from dicom_node.decoding.decode import decodes
from dicom_node.deliver.c_store_scu import UNCOMPRESSED
from dicom_node.deliver.storage_commitment import CLASS_CONFLICT, DUPLICATE_TRANSACTION, REASONS
from dicom_node.deliver.storage_commitment import SOP_CLASS_NOT_SUPPORTED as NOT_COMMITTED_TO
from dicom_node.errors import StoreStatus
from dicom_node.net.commitments import ReportStatus
from dicom_node.net.status import DUPLICATE_INSTANCE, MEANINGS, TRANSIENT
from dicom_node.receive.scp import RECEIVED, Limits, receiver
from dicom_node.results.objects import ObjectKind
from dicom_node.retrieve.dimse import IMAGES
from dicom_node.sop_classes import (
    STORAGE_COMMITMENT,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
    sop_class_name,
)

STORE_ANSWERS = {
    StoreStatus.SUCCESS: "The instance, as it came, and its folder are synced to the disk.",
    StoreStatus.PROCESSING_FAILURE: "The disk refused the instance though it has room.",
    StoreStatus.INVALID_OBJECT_INSTANCE: "The request names no instance, or by what is no UID.",
    StoreStatus.SOP_CLASS_NOT_SUPPORTED: "Another SOP class than that of the presentation context.",
    StoreStatus.NOT_AUTHORISED: (
        "Another caller sent this instance with other content, and its series still comes in."
    ),
    StoreStatus.OUT_OF_RESOURCES: "The disk is full, or has less than `receive.keep_free_mb` left.",
    StoreStatus.DATA_SET_DOES_NOT_MATCH_SOP_CLASS: (
        "SOP class or instance in the data set are not those of the request."
    ),
    StoreStatus.CANNOT_UNDERSTAND: "The bytes are no data set, or one of the four UIDs is missing.",
}
REPORT_ANSWERS = {
    ReportStatus.SUCCESS: "The report is noted.",
    ReportStatus.PROCESSING_FAILURE: "Stands for a reason that a report leaves out.",
    ReportStatus.INVALID_ARGUMENT_VALUE: "The transaction is not open.",
}
MANY = "every transfer syntax of the table below"


def accepted_table() -> str:
    """Return the presentation contexts that the node accepts."""
    contexts = receiver("HEPAR", Limits(stored=RECEIVED)).supported_contexts
    return table(
        ("Abstract syntax", "UID", "Transfer syntaxes", "Role of the node"),
        (
            (*_named(_syntax(each)), _syntaxes(each.transfer_syntax), _role(each))
            for each in contexts
        ),
    )


def syntax_table() -> str:
    """Return the transfer syntaxes in which images are received."""
    return table(
        ("Transfer syntax", "UID", "Segmented"),
        (
            (*_named(syntax), "yes" if decodes(syntax) else "refused with the reason")
            for syntax in map(UID, ALL_TRANSFER_SYNTAXES)
        ),
    )


def store_answer_table() -> str:
    """Return the statuses that answer a C-STORE."""
    return _statuses(STORE_ANSWERS, StoreStatus)


def report_answer_table() -> str:
    """Return the statuses that answer an N-EVENT-REPORT."""
    return _statuses(REPORT_ANSWERS, ReportStatus)


def proposed_table(objects: Mapping[ObjectKind, Sequence[Sequence[Example]]]) -> str:
    """Return the presentation contexts that the node proposes, activity by activity.

    Args:
        objects: examples of what it delivers, for each kind in each of its encodings.
    """
    return table(
        ("Activity", "Abstract syntax", "UID", "Transfer syntaxes", "Role of the node"),
        [*_deliveries(objects), *_others()],
    )


def _deliveries(
    objects: Mapping[ObjectKind, Sequence[Sequence[Example]]],
) -> Iterator[tuple[str, ...]]:
    for made in (each for forms in objects.values() for each in forms):
        meta = made[0].made.file_meta
        syntax = meta.TransferSyntaxUID
        asked = UNCOMPRESSED if syntax in UNCOMPRESSED else (syntax,)
        yield ("Deliver", *_named(meta.MediaStorageSOPClassUID), _syntaxes(asked), "SCU")
    for notice in (BasicTextSRStorage, KeyObjectSelectionDocumentStorage):
        yield ("Deliver a notice", *_named(notice), _syntaxes(UNCOMPRESSED), "SCU")


def _others() -> Iterator[tuple[str, ...]]:
    implicit = _syntaxes((ImplicitVRLittleEndian,))
    yield ("Confirm", *_named(STORAGE_COMMITMENT), implicit, "SCU")
    yield ("Confirm, search", *_named(STUDY_ROOT_FIND), implicit, "SCU")
    yield ("Pull into the node", *_named(STUDY_ROOT_MOVE), implicit, "SCU")
    yield ("Pull into a folder", *_named(STUDY_ROOT_GET), implicit, "SCU")
    for image in IMAGES:
        role = "SCP, by role selection"
        yield ("Pull into a folder", *_named(image), "each of those accepted", role)
    yield ("Test a peer", *_named(VERIFICATION), implicit, "SCU")


def store_status_table() -> str:
    """Return what the answers to a delivery mean for it."""
    rows = [("0000, 0001, 0107, 0116, Bxxx", "success or warning", "stored; to be confirmed")]
    rows.append((f"{DUPLICATE_INSTANCE:04X}", "duplicate", "to be confirmed"))
    rows.append(("A77x", "a reason of its own (dcm4chee)", "the delivery fails"))
    for status, meaning in sorted(MEANINGS.items()):
        then = "tried again, with growing pauses" if status in TRANSIENT else "the delivery fails"
        rows.append((_pattern(status), meaning, then))
    rows.append(("any other", "a failure", "the delivery fails"))
    return table(("Status", "Meaning", "What follows"), rows)


def commitment_table() -> str:
    """Return what the reasons in a report of storage commitment lead to."""
    special = {NOT_COMMITTED_TO: "another means, or the delivery fails"}
    special[DUPLICATE_TRANSACTION] = "asked for again"
    special[CLASS_CONFLICT] = "the delivery fails"
    rows = [
        (f"{reason:04X}", meaning, special.get(reason, "the object is sent again"))
        for reason, meaning in sorted(REASONS.items())
    ]
    return table(("Failure reason", "Meaning", "What follows"), rows)


def _statuses(
    meanings: Mapping[StoreStatus, str] | Mapping[ReportStatus, str],
    statuses: type[StoreStatus] | type[ReportStatus],
) -> str:
    known: dict[int, str] = {int(each): said for each, said in meanings.items()}
    return table(
        ("Status", "Name", "Meaning"),
        (
            (f"{each:04X}", each.name.replace("_", " ").lower(), known[int(each)])
            for each in statuses
        ),
    )


def _pattern(status: int) -> str:
    """Write a status as PS3.4 table B.2-1 does: A7xx, Cxxx."""
    digits = f"{status:04X}"
    free = {"A": 2, "C": 3}.get(digits[0], 0)
    return digits[: 4 - free] + "x" * free


def _named(uid: UID) -> tuple[str, str]:
    return sop_class_name(uid), code(uid)


def _syntax(context: PresentationContext) -> UID:
    assert context.abstract_syntax is not None
    return context.abstract_syntax


def _syntaxes(syntaxes: Sequence[UID | str]) -> str:
    if len(syntaxes) == len(ALL_TRANSFER_SYNTAXES):
        return MANY
    return ", ".join(UID(each).name for each in syntaxes)


def _role(context: PresentationContext) -> str:
    return "SCU, where the caller takes the role of the SCP" if context.scp_role else "SCP"
