"""Storage commitment as its user sees it (PS3.4 J.3): what was asked, and what was reported.

An archive may report on the association that asked, or much later on one of its own, so requests
and reports meet here, by Transaction UID. Nothing is kept on disk: a report that a crash loses is
asked for again.
"""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom.events import Event

logger = logging.getLogger(__name__)

COMMITTED = 0
"""Stands where a failure reason would."""


class ReportStatus(IntEnum):
    """Statuses that answer an N-EVENT-REPORT (PS3.7 10.1.1.1.8)."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    INVALID_ARGUMENT_VALUE = 0x0115


@dataclass(frozen=True)
class CommitmentRequest:
    """Whether a peer keeps an object."""

    peer: str
    instance_uid: str


class Commitments:
    """What peers were asked to commit to, and what they reported; safe between threads."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._asked: dict[str, CommitmentRequest] = {}
        self._reasons: dict[CommitmentRequest, int] = {}

    def ask(self, question: CommitmentRequest) -> str:
        """Return a new Transaction UID (0008,1195) under which the answer will be known."""
        transaction = str(generate_uid(prefix=None))
        with self._news:
            self._asked[transaction] = question
        return transaction

    def report(self, transaction: str, reasons: dict[str, int]) -> bool:
        """Take a report; return whether anybody asked.

        Args:
            transaction: its Transaction UID.
            reasons: SOP Instance UID to `COMMITTED`, or to why not (0008,1197).
        """
        with self._news:
            question = self._asked.get(transaction)
            if question is None:
                return False
            if question.instance_uid in reasons:
                self._reasons[question] = reasons[question.instance_uid]
                self._news.notify_all()
        return True

    def answer(self, question: CommitmentRequest, wait_s: float) -> int | None:
        """Return `COMMITTED` or why not, to whichever request the report came; None: not yet.

        What was answered is forgotten: asking again asks anew.
        """
        with self._news:
            if not self._news.wait_for(lambda: question in self._reasons, wait_s):
                return None
            for each in [known for known, asked in self._asked.items() if asked == question]:
                del self._asked[each]
            return self._reasons.pop(question)


def on_n_event_report(event: Event, commitments: Commitments) -> tuple[int, None]:
    """Note what a peer reports of the objects it was asked to commit to."""
    report = event.event_information
    transaction = str(report.get("TransactionUID", ""))
    if commitments.report(transaction, dict(_reasons(report))):
        return ReportStatus.SUCCESS, None
    logger.warning(
        "nobody waits for the report on transaction %r",
        transaction,
        extra={"action": "report_refused"},
    )
    return ReportStatus.INVALID_ARGUMENT_VALUE, None


def _reasons(report: Dataset) -> Iterator[tuple[str, int]]:
    for item in report.get("ReferencedSOPSequence") or ():
        yield str(item.get("ReferencedSOPInstanceUID")), COMMITTED
    for item in report.get("FailedSOPSequence") or ():
        reason = int(item.get("FailureReason") or ReportStatus.PROCESSING_FAILURE)
        yield str(item.get("ReferencedSOPInstanceUID")), reason
