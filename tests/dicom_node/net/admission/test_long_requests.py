"""Long association requests are negotiated one after the other, and short ones go ahead of them."""

import socket
from contextlib import contextmanager

import pytest
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.errors import PeerUnavailable
from dicom_node.net.admission import turn
from dicom_node.net.admission.association_request import LONG_BYTES
from dicom_node.net.admission.turn import take_early
from dicom_node.net.admission.waiting_room import LONG_MOST
from dicom_node.net.application_entity import ApplicationEntity
from dicom_node.net.connection import WakingQueue
from dicom_node.sop_classes import VERIFICATION
from tests.dicom_node.net.admission.room import Room, request
from tests.waiting import GENEROUS_S, wait_until

SHORT, LONG = LONG_BYTES // 2, LONG_BYTES + 1
CONTEXTS = [(VERIFICATION, ExplicitVRLittleEndian)] * 120


@pytest.fixture
def endless_turns(monkeypatch):
    """Let no turn end by its time, and the room never look up by itself."""
    monkeypatch.setattr(turn, "TURN_S", 3600.0)
    monkeypatch.setattr("dicom_node.net.admission.waiting_room.LOOK_UP_S", 3600.0)


def test_a_long_request_begins_once_the_one_before_it_is_answered(endless_turns):
    with Room() as room:
        first = room.ask(LONG)
        room.wait_for(first)
        second = room.ask(LONG)
        room.wait_until_queued(1)
        third = room.ask(LONG)
        room.wait_until_queued(2)
        room.wait_for(first)
        take_early(first).turn.end()
        room.wait_for(first, second)
        take_early(second).turn.end()
        room.wait_for(first, second, third)


def test_a_short_request_goes_ahead_of_long_ones(endless_turns):
    with Room() as room:
        first = room.ask(LONG)
        room.wait_for(first)
        room.ask(LONG)
        room.wait_until_queued(1)
        short = room.ask(SHORT)
        room.wait_for(first, short)
        assert take_early(short).turn is None


def test_a_turn_whose_end_is_never_seen_ends_by_its_time(monkeypatch):
    monkeypatch.setattr(turn, "TURN_S", 0.1)
    with Room() as room:
        asked = [room.ask(LONG) for _ in range(3)]
        wait_until(lambda: len(room.admitted) == len(asked))


def test_no_more_long_requests_wait_than_have_a_place(endless_turns):
    with Room() as room:
        first = room.ask(LONG)
        room.wait_for(first)
        for number in range(LONG_MOST):
            room.ask(LONG)
            room.wait_until_queued(number + 1)
        beyond = room.ask(LONG)
        room.wait_for(first, beyond)


@contextmanager
def associated(address, **options):
    entity = ApplicationEntity("node", "TEST", *address, calling_ae_title="KNOWN", **options)
    with entity.associated(CONTEXTS) as association:
        yield association


def test_each_way_in_which_a_long_request_ends_lets_the_next_one_begin(receiver, endless_turns):
    address, _ = receiver(associations=2)
    for content in (b"\0", b"\xff"):
        with socket.create_connection(address, timeout=GENEROUS_S) as connection:
            connection.sendall(request(LONG, content))  # damaged: answered by an abort
            while connection.recv(4096):
                pass
    with socket.create_connection(address) as gone:
        gone.sendall(request(LONG))
    with associated(address) as first, associated(address) as second:
        with pytest.raises(PeerUnavailable, match="limit"), associated(address):
            pass
        assert first.send_c_echo().Status == second.send_c_echo().Status == 0x0000


def test_a_connection_that_cannot_be_prepared_lets_the_next_one_begin(
    receiver, endless_turns, monkeypatch
):
    address, _ = receiver()

    def no_files():
        monkeypatch.setattr("dicom_node.net.connection.WakingQueue", WakingQueue)
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("dicom_node.net.connection.WakingQueue", no_files)
    with socket.create_connection(address, timeout=GENEROUS_S) as connection:
        connection.sendall(request(LONG))
        wait_until(lambda: connection.recv(4096) == b"")
    with associated(address) as association:
        assert association.send_c_echo().Status == 0x0000
