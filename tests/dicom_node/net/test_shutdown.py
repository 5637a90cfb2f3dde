"""No association outlives its connection, and none the receiver."""

import contextlib
import errno
import socket
import time

import pytest
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from dicom_node.errors import PeerUnavailable
from dicom_node.net.application_entity import ApplicationEntity
from dicom_node.receive.scp import Limits, listen
from dicom_node.receive.spool import Spool
from tests.waiting import GENEROUS_S, wait_until

PATIENT = Limits(associations=8, acse_s=2 * GENEROUS_S, network_s=2 * GENEROUS_S)
"""Minutes for a request and for what follows."""

HALF_A_PDU = b"\x04\x00\x00\x00\x10\x00half a PDU"
HALF_A_REQUEST = b"\x01\x00\x00\x00\x10\x00half a request"


@pytest.fixture
def server(tmp_path):
    server = listen("TEST", ("127.0.0.1", 0), Spool(tmp_path / "spool"), limits=PATIENT)
    yield server
    server.ae.shutdown()


def associate(server):
    ae = AE()
    ae.add_requested_context(Verification)
    return ae.associate(*server.socket.getsockname())


def test_health_checks_that_only_connect_leave_room_for_senders(server):
    for _ in range(2 * PATIENT.associations):
        socket.create_connection(server.socket.getsockname()).close()
    wait_until(lambda: is_taken(server))  # once it has noticed that the connections are over


def is_taken(server):
    """Associate, and return whether the receiver took it."""
    association = associate(server)
    taken = association.is_established
    association.release()
    return taken


def falls_silent(server):
    """A sender that stops in the middle of a PDU and never answers again; its open socket."""
    association = associate(server)
    association.dul.kill_dul()
    association.dul.join()
    wire = association.dul.socket.socket
    wire.sendall(HALF_A_PDU)
    return wire


def stops_in_its_request(server):
    caller = socket.create_connection(server.socket.getsockname())
    caller.sendall(HALF_A_REQUEST)
    return caller


def says_nothing(server):
    return socket.create_connection(server.socket.getsockname())


def asks_for_garbage(server):
    """A request that is whole, so that an association is made for it."""
    caller = socket.create_connection(server.socket.getsockname())
    caller.sendall(b"\x01\x00\x00\x00\x00\x44" + bytes(68))
    return caller


def test_requests_that_cannot_be_read_leave_room_for_senders(server):
    for _ in range(2 * PATIENT.associations):
        with asks_for_garbage(server) as caller, contextlib.suppress(ConnectionError):
            while caller.recv(1 << 16):
                pass
    wait_until(lambda: is_taken(server))
    wait_until(lambda: not server.active_associations)


@pytest.mark.parametrize("caller", [falls_silent, stops_in_its_request, says_nothing])
def test_the_end_of_the_receiver_waits_for_no_silent_caller(server, caller):
    with caller(server):
        wait_until(lambda: server.active_associations or server.room._waiting)
        begun = time.monotonic()
        server.ae.shutdown()
    assert time.monotonic() - begun < GENEROUS_S
    assert not server.active_associations


def test_the_end_of_the_receiver_tells_who_listens(server):
    sender = associate(server)
    server.ae.shutdown()
    sender.join(GENEROUS_S)
    assert sender.is_aborted


def test_a_connection_whose_waits_would_have_no_end_is_closed(server, monkeypatch):
    def too_many(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("socket.socketpair", too_many)
    with pytest.raises(PeerUnavailable, match="no association"), call(server):
        pass
    with asks_for_garbage(server) as caller:
        assert caller.recv(1) == b""
    monkeypatch.undo()
    wait_until(lambda: is_taken(server))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_peer_hears_the_end_also_from_a_caller_whose_thread_died(server):
    with call(server) as association:
        association.dul.event_queue.put("Evt5")  # "connected", which it is
        association.dul.join(GENEROUS_S)
        assert server.active_associations
    wait_until(lambda: not server.active_associations)


def call(server):
    entity = ApplicationEntity("node", "TEST", *server.socket.getsockname())
    return entity.associated([(Verification, ImplicitVRLittleEndian)])
