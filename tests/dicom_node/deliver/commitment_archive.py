"""An archive in this process that commits itself to objects, in each of the ways that there are."""

import threading
import time
from copy import deepcopy
from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian, SegmentationStorage
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
)

from dicom_node.net.connection import prepare_connection
from dicom_node.net.reactor import install_reactor_pause
from tests.waiting import GENEROUS_S, wait_until

PAUSE_S = 0.05


@dataclass
class Archive:
    """What it does, to be changed between requests, and what it saw."""

    report_to: tuple[str, int] | str | None = "same"
    """Where reports go: "same" association, an address, or nowhere."""
    reason: int | None = 0x0000
    """Failure reason of its reports; 0 commits, None: a failure without a reason."""
    action_status: int = 0x0000
    """Answer to a request for commitment."""
    find: str = "none"
    """Whether a search "shows" the object, alone or "with others", shows only "others", is
    "empty", "fails", "is denied", or "breaks off"."""
    aborts_action: bool = False
    """Whether it aborts when it is asked for commitment."""
    may_report: threading.Event = field(default_factory=threading.Event)
    """Reports wait for it where a test clears it."""
    offers: tuple[str, ...] = (StorageCommitmentPushModel,)
    stored: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    """Transaction UIDs."""
    answers: list[int] = field(default_factory=list)
    """Statuses with which its reports were answered."""

    def __post_init__(self):
        self.may_report.set()

    def start(self):
        """Listen; returns the server."""
        entity = AE("ARCHIVE")
        entity.add_supported_context(SegmentationStorage)
        for each in self.offers:
            entity.add_supported_context(each, ImplicitVRLittleEndian)
        return entity.start_server(
            ("127.0.0.1", 0),
            block=False,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, prepare_connection, [30.0, 1 << 20]),
                (evt.EVT_CONN_OPEN, install_reactor_pause),
                (evt.EVT_C_STORE, self.keep),
                (evt.EVT_N_ACTION, self.commit),
                (evt.EVT_C_FIND, self.search),
            ],
        )

    def wait_for_answers(self):
        """Return the answers to its reports once there is one; its own thread notes it."""
        wait_until(lambda: self.answers)
        return self.answers

    def keep(self, event):
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def commit(self, event):
        request = event.action_information
        self.requests.append(str(request.TransactionUID))
        if self.aborts_action:
            event.assoc.abort()
            return 0x0110, None
        if self.action_status == 0x0000 and self.report_to is not None:
            threading.Thread(target=self.report, args=(event.assoc, request), daemon=True).start()
        return self.action_status, None

    def report(self, association, request):
        """Send one report, as soon as the request has been answered."""
        time.sleep(PAUSE_S)
        self.may_report.wait(GENEROUS_S)
        if self.report_to == "same":
            self.send_report(association, request)
            return
        entity = AE("ARCHIVE")
        entity.add_requested_context(StorageCommitmentPushModel)
        role = build_role(StorageCommitmentPushModel, scp_role=True)
        called = entity.associate(*self.report_to, ext_neg=[role])
        self.send_report(called, request)
        called.release()

    def send_report(self, association, request):
        failed = self.reason != 0
        report, kind = Dataset(), 2 if failed else 1
        report.TransactionUID = request.TransactionUID
        items = request.ReferencedSOPSequence
        if failed:
            for item in items if self.reason else ():
                item.FailureReason = self.reason
            report.FailedSOPSequence = items
        else:
            report.ReferencedSOPSequence = items
        status, _ = association.send_n_event_report(
            report, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        self.answers.append(status.Status)

    def search(self, event):
        wanted = event.identifier
        if self.find == "breaks off":
            event.assoc.abort()
        elif self.find == "fails":
            yield 0xC001, None
        elif self.find == "is denied":
            yield 0x0124, None
        if self.find in ("others", "shows with others"):  # takes no notice of the UID
            for number in (1, 2):
                other = deepcopy(wanted)
                other.SOPInstanceUID = f"2.25.{number}"
                yield 0xFF00, other
        if self.find in ("shows", "shows with others"):
            yield 0xFF00, wanted


FIND = StudyRootQueryRetrieveInformationModelFind
COMMIT = StorageCommitmentPushModel
