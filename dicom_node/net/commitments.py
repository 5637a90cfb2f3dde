"""Storage commitment requests and the reports that answer them (PS3.4 J.3).

An archive may report on the association of the request, or much later on one of its own, so
requests and reports meet here, by Transaction UID. Nothing is kept on disk: after a crash the
request is sent again.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import evt
from pynetdicom.events import Event, EventHandlerType

logger = logging.getLogger(__name__)

MOST_OPEN = 10_000
"""Requests that wait for a report; one more gives up the oldest, which is sent again if need be."""

COMMITTED = 0
"""In place of a failure reason."""


class ReportStatus(IntEnum):
    """Statuses that answer an N-EVENT-REPORT (PS3.7 10.1.1.1.8)."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    INVALID_ARGUMENT_VALUE = 0x0115


@dataclass(frozen=True)
class CommitmentRequest:
    """One object, and the peer that is to commit itself to it."""

    peer: str
    instance_uid: str


class Commitments:
    """Open requests and their reports; safe for use by several threads."""

    def __init__(self) -> None:
        # Reports come in pynetdicom's threads, and deliveries wait for them in DBOS's.
        self._changed = threading.Condition()
        self._asked: dict[str, CommitmentRequest] = {}
        self._reasons: dict[CommitmentRequest, int] = {}

    def ask(self, question: CommitmentRequest) -> str:
        """Return a new Transaction UID (0008,1195), under which the report will come."""
        # Without a prefix: 2.25 and a random UUID (PS3.5 B.2), never the same after a restart.
        transaction = str(generate_uid(prefix=None))
        with self._changed:
            self._asked[transaction] = question
            if len(self._asked) > MOST_OPEN:  # the oldest: a dictionary keeps their order
                del self._asked[next(iter(self._asked))]
        return transaction

    def report(self, transaction: str, reasons: dict[str, int]) -> bool:
        """Record a report; return whether its transaction is open.

        Args:
            transaction: its Transaction UID.
            reasons: SOP Instance UID to `COMMITTED`, or to the Failure Reason (0008,1197).
        """
        with self._changed:
            question = self._asked.get(transaction)
            if question is None:
                return False
            # A report on other instances of the transaction leaves this one open.
            if question.instance_uid in reasons:
                self._reasons[question] = reasons[question.instance_uid]
                self._changed.notify_all()
        return True

    def answer(self, question: CommitmentRequest, wait_s: float) -> int | None:
        """Return `COMMITTED` or the failure reason; None: no report has come yet.

        The answer is removed, and so are its transactions.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: question in self._reasons, wait_s):
                return None
            # All of them: a request that got no report in time was sent again under a new UID.
            for each in [known for known, asked in self._asked.items() if asked == question]:
                del self._asked[each]
            return self._reasons.pop(question)


def on_n_event_report(event: Event, commitments: Commitments) -> tuple[int, None]:
    """Record a peer's report; to be bound to EVT_N_EVENT_REPORT."""
    report = event.event_information
    transaction = str(report.get("TransactionUID", ""))
    if commitments.report(transaction, dict(_reasons(report))):
        return ReportStatus.SUCCESS, None
    logger.warning(
        "report on unknown transaction %r refused",
        transaction,
        extra={"action": "report_refused"},
    )
    return ReportStatus.INVALID_ARGUMENT_VALUE, None


class ReportOnAssociation:
    """A report on the association of its request, which stays open until the answer is sent.

    pynetdicom serves a report in a thread of its own and lets the association be released
    meanwhile: the answer would follow the release, and the peer would never see it (pynetdicom
    issue 820).
    """

    def __init__(self, commitments: Commitments) -> None:
        self._commitments = commitments
        self._server: threading.Thread | None = None

    def handlers(self) -> Sequence[EventHandlerType]:
        """Return what the association must call."""
        return ((evt.EVT_N_EVENT_REPORT, self._on_report),)

    def wait_until_answered(self, at_most_s: float) -> None:
        """Return once a report that came has been answered; at once if none came."""
        if self._server:
            self._server.join(at_most_s)

    def _on_report(self, event: Event) -> tuple[int, None]:
        # The thread that pynetdicom serves the report in; it ends once the answer is sent.
        self._server = threading.current_thread()
        return on_n_event_report(event, self._commitments)


def _reasons(report: Dataset) -> Iterator[tuple[str, int]]:
    for item in report.get("ReferencedSOPSequence") or ():
        yield str(item.get("ReferencedSOPInstanceUID")), COMMITTED
    for item in report.get("FailedSOPSequence") or ():
        # A failed item without a reason is still a failed item, never a committed one.
        reason = int(item.get("FailureReason") or ReportStatus.PROCESSING_FAILURE)
        yield str(item.get("ReferencedSOPInstanceUID")), reason
