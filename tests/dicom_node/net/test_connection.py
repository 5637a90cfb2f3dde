"""A connection sleeps until one of its sides has something to say."""

import gc
import socket
import struct
import threading
from types import SimpleNamespace

import pytest
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

from dicom_node.net.connection import WakingQueue, WakingSocket, read
from tests.waiting import GENEROUS_S


@pytest.fixture
def pair(monkeypatch):
    """A wire that would sleep for minutes, and the peer's end of it."""
    monkeypatch.setattr("dicom_node.net.connection.LOOK_UP_S", 2 * GENEROUS_S)
    ours, theirs = socket.socketpair()
    association = Association(AE(), "acceptor")
    plain = AssociationSocket(association, client_socket=ours)
    association.dul.event_queue.get_nowait()  # the connection is announced
    wire = WakingSocket(plain, WakingQueue(), longest=100, timeout_s=GENEROUS_S)
    yield SimpleNamespace(wire=wire, theirs=theirs, outgoing=wire._outgoing)
    wire._shutdown_socket()
    theirs.close()


def wait(wire, wake):
    """Wait for the wire in a thread, `wake` it, and return what it found."""
    found = []
    waiting = threading.Thread(target=lambda: found.append(wire.ready))
    waiting.start()
    wake()
    waiting.join(GENEROUS_S)
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
    with pytest.raises(ConnectionAbortedError, match="announced 101 bytes; at most 100 are read"):
        pair.wire.recv(101)


def test_a_queue_that_was_never_closed_closes_when_it_is_forgotten():
    outgoing = WakingQueue()
    rung = outgoing.rung
    del outgoing
    gc.collect()
    assert rung.fileno() == -1


def test_single_bytes_do_not_extend_the_time_for_a_pdu():
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 200_000))
    stop = threading.Event()

    def drip():
        while not stop.wait(0.05):
            theirs.send(b"x")

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        with pytest.raises(TimeoutError, match="of 1000 bytes came within"):
            read(ours, 1000, timeout_s=0.5)
    finally:
        stop.set()
        dripping.join()
        ours.close()
        theirs.close()
