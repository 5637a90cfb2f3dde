"""A connection sleeps until one of its sides has something to say."""

import gc
import socket
import threading
from types import SimpleNamespace

import pytest
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

from dicom_node.net.connection import WakingQueue, WakingSocket


@pytest.fixture
def pair(monkeypatch):
    """A wire that would sleep for a minute, and the peer's end of it."""
    monkeypatch.setattr("dicom_node.net.connection.LOOK_UP_S", 60)
    ours, theirs = socket.socketpair()
    association = Association(AE(), "acceptor")
    plain = AssociationSocket(association, client_socket=ours)
    association.dul.event_queue.get_nowait()  # the connection is announced
    wire = WakingSocket(plain, WakingQueue(), longest=100)
    yield SimpleNamespace(wire=wire, theirs=theirs, outgoing=wire._outgoing)
    wire._shutdown_socket()
    theirs.close()


def wait(wire, wake):
    """Wait for the wire in a thread, `wake` it, and return what it found."""
    found = []
    waiting = threading.Thread(target=lambda: found.append(wire.ready))
    waiting.start()
    wake()
    waiting.join(10)
    return found


def test_bytes_of_the_peer_wake_it(pair):
    assert wait(pair.wire, lambda: pair.theirs.send(b"x")) == [True]
    assert pair.wire.recv(1) == b"x"


def test_what_this_side_wants_to_send_wakes_it(pair):
    assert wait(pair.wire, lambda: pair.outgoing.put("a message")) == [False]
    assert pair.outgoing.get_nowait() == "a message"


def test_it_rings_more_often_than_it_is_heard_without_waiting(pair):
    for number in range(10_000):
        pair.outgoing.put(number)
    assert pair.outgoing.qsize() == 10_000


def test_the_peers_end_wakes_it(pair):
    assert wait(pair.wire, pair.theirs.close) == [True]
    assert pair.wire.recv(6) == b""


def test_more_than_was_agreed_is_not_read(pair):
    with pytest.raises(ConnectionAbortedError, match="a PDU of 101 bytes; at most 100 are taken"):
        pair.wire.recv(101)


def test_a_queue_that_was_never_closed_closes_when_it_is_forgotten():
    outgoing = WakingQueue()
    rung = outgoing.rung
    del outgoing
    gc.collect()
    assert rung.fileno() == -1
