"""Private parts of pynetdicom that `dicom_node.net` leans on, each with the repair that needs it.

When one of these fails with a new pynetdicom, see docs/upstream.md before raising its upper bound
in pyproject.toml: the repair may have become needless, or silently without effect.
"""

import inspect
import queue
import subprocess
import sys
import threading

import pydicom.uid
import pynetdicom.sop_class
import pytest
from pynetdicom import AE, _config, evt
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.dul import DULServiceProvider
from pynetdicom.transport import AssociationServer, AssociationSocket, ThreadedAssociationServer

from dicom_node import sop_classes
from dicom_node.net.shutdown import AWAITING_CLOSE, AWAITING_REQUEST

INSTANCE_ATTRIBUTES = [
    ("assoc", "_reactor_checkpoint", threading.Event, "ReactorPause takes its place"),
    ("assoc", "_is_paused", bool, "ReactorPause sets it"),
    ("assoc", "_kill", bool, "ReactorWait ends with it"),
    ("dimse", "msg_queue", queue.Queue, "install_reactor_wait exchanges it"),
    ("dul", "socket", type(None), "prepare_connection exchanges it"),
    ("dul", "to_provider_queue", queue.Queue, "prepare_connection exchanges it"),
    (
        "dul",
        "to_user_queue",
        queue.Queue,
        "install_reactor_wait exchanges it; end_unrequested",
    ),
    ("dul", "event_queue", queue.Queue, "WakingSocket reports a closed connection"),
    ("dul", "_run_loop_delay", float, "prepare_connection sets it to 0"),
]
METHODS = [
    (DULServiceProvider, "_is_transport_event", "calls WakingSocket.ready"),
    (DULServiceProvider, "_read_pdu_data", "calls WakingSocket.recv"),
    (DULServiceProvider, "_process_recv_primitive", "reads WakingQueue"),
    (Association, "_serve_request", "runs reports in a thread (ReportOnAssociation)"),
    (AssociationSocket, "_shutdown_socket", "WakingSocket overrides it"),
    (AssociationSocket, "recv", "WakingSocket overrides it"),
    (AssociationSocket, "close", "close_connection calls it"),
    (ACSE, "negotiate_release", "release calls it"),
    (AE, "shutdown", "ImmediateShutdownAE overrides it"),
    (DIMSEServiceProvider, "send_msg", "refuse_unnamed calls it; store responses take its place"),
    (ThreadedAssociationServer, "process_request", "the receiver overrides it"),
    (AssociationServer, "get_request", "the receiver overrides it"),
]
SOURCES = [
    (DULServiceProvider._is_transport_event, "self.socket.ready"),
    (DULServiceProvider._read_pdu_data, "self.socket.recv"),
    (DULServiceProvider._process_recv_primitive, "self.to_provider_queue.queue[0]"),
    (DULServiceProvider.run_reactor, "time.sleep(self._run_loop_delay)"),
    (Association._run_reactor, "self._reactor_checkpoint.wait()"),
    (Association._run_reactor, "self.dimse.get_msg(block=False)"),
    (Association._run_reactor, "self._serve_request(msg, cast(int, context_id))"),
    (Association.run_reactor, "self._run_reactor()"),
    (Association.release, "while not self._is_paused"),
    (Association.send_c_store, "self._reactor_checkpoint.clear()"),
    (Association.send_c_store, "_config.STORE_SEND_CHUNKED_DATASET"),
    (Association.run_reactor, "self.dul.receive_pdu(wait=True, timeout=self.acse_timeout)"),
    (AssociationSocket.__init__, 'self.event_queue.put("Evt5")'),
    (DIMSEMessage.decode_msg, "cast(BytesIO, self.data_set).write(data[1:])"),
    (DIMSEServiceProvider.receive_primitive, "target=make_target(self.assoc._serve_request)"),
]
"""Lines that a repair depends on: where pynetdicom says this otherwise, the repair may be idle."""


@pytest.fixture
def association():
    return Association(AE(), "requestor")


@pytest.mark.parametrize(("owner", "name", "kind", "why"), INSTANCE_ATTRIBUTES)
def test_an_attribute_is_there(association, owner, name, kind, why):
    parts = {"assoc": association, "dul": association.dul, "dimse": association.dimse}
    holder = parts[owner]
    assert hasattr(holder, name), f"pynetdicom has no {owner}.{name} any more: {why}"
    found = getattr(holder, name)
    assert isinstance(found, kind), f"{owner}.{name} is now a {type(found).__name__}: {why}"


@pytest.mark.parametrize(("owner", "name", "why"), METHODS)
def test_a_method_is_there(owner, name, why):
    assert callable(getattr(owner, name, None)), f"no {owner.__name__}.{name} any more: {why}"


@pytest.mark.parametrize(("function", "line"), SOURCES)
def test_pynetdicom_still_works_as_the_repair_expects(function, line):
    assert line in inspect.getsource(function), (
        f"{function.__qualname__} does not contain {line!r} any more; see docs/upstream.md"
    )


def test_a_socket_keeps_its_state_in_its_own_attributes():
    """`WakingSocket.__init__` copies them."""
    source = inspect.getsource(AssociationSocket.__init__)
    needed = ("_assoc", "_ready", "socket", "_is_connected", "_tls_args")
    missing = [name for name in needed if f"self.{name}" not in source]
    assert not missing, f"AssociationSocket.__init__ does not set {missing} any more"


@pytest.mark.parametrize("state", [AWAITING_REQUEST, AWAITING_CLOSE])
def test_the_states_without_a_request_have_their_names(association, state):
    association.dul.state_machine.transition(state)
    assert association.dul.state_machine.current_state == state
    assert association.requestor.primitive is None


@pytest.mark.parametrize("name", ["LOG_HANDLER_LEVEL", "STORE_SEND_CHUNKED_DATASET"])
def test_a_setting_is_there(name):
    assert hasattr(_config, name), f"pynetdicom._config.{name} is gone: configure_pynetdicom"


def test_a_message_has_what_the_handler_reads():
    message = C_STORE_RQ()
    for name in ("command_set", "data_set", "context_id"):
        assert hasattr(message, name), f"C_STORE_RQ.{name} is gone: CStoreHandler reads it"


def test_events_come_in_the_order_that_the_handler_needs():
    """A message is complete (EVT_DIMSE_RECV) before it is served (EVT_C_STORE)."""
    source = inspect.getsource(DIMSEServiceProvider.receive_primitive)
    assert source.index("evt.EVT_DIMSE_RECV") < source.index("self.msg_queue.put")
    assert evt.EVT_C_STORE.is_intervention


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("VERIFICATION", "Verification"),
        ("STORAGE_COMMITMENT", "StorageCommitmentPushModel"),
        ("STORAGE_COMMITMENT_INSTANCE", "StorageCommitmentPushModelInstance"),
        ("STUDY_ROOT_FIND", "StudyRootQueryRetrieveInformationModelFind"),
        ("STUDY_ROOT_MOVE", "StudyRootQueryRetrieveInformationModelMove"),
        ("STUDY_ROOT_GET", "StudyRootQueryRetrieveInformationModelGet"),
        ("LABEL_MAP_SEGMENTATION", "LabelMapSegmentationStorage"),
    ],
)
def test_uids_are_those_of_the_standard(ours, theirs):
    assert getattr(sop_classes, ours) == getattr(pynetdicom.sop_class, theirs)
    assert not hasattr(pydicom.uid, theirs), f"pydicom names {theirs} now: use its name"


def test_importing_the_node_changes_no_setting_of_pynetdicom():
    script = (
        "from pynetdicom import _config\n"
        "before = dict(vars(_config))\n"
        "import dicom_node.receive.scp, dicom_node.deliver.c_store_scu, dicom_node.retrieve.dimse\n"
        "changed = [name for name in before if before[name] is not vars(_config)[name]]\n"
        "assert not changed, changed\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
