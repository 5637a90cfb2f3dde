"""Nobody keeps others out: not by being silent, slow, garbled or many."""

import contextlib
import socket
import threading

import pytest
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.errors import PeerUnavailable
from dicom_node.net.application_entity import ApplicationEntity
from dicom_node.net.connection import Allowance
from dicom_node.sop_classes import VERIFICATION
from tests.waiting import GENEROUS_S, wait_until

ECHO = [(VERIFICATION, ImplicitVRLittleEndian)]


def peer(address, title="KNOWN", **options):
    return ApplicationEntity("node", "TEST", *address, calling_ae_title=title, **options)


def echo(address, **options):
    with peer(address, **options).associated(ECHO) as association:
        return association.send_c_echo().Status


def drip(connection, stop):
    with contextlib.suppress(OSError):
        while not stop.wait(0.1):
            connection.sendall(b"\x01")


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x01\x00\x00\x00\x10\x00half"])
def test_two_hundred_connections_keep_no_caller_out(receiver, said):
    address, server = receiver()
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            connection = stack.enter_context(socket.create_connection(address))
            with contextlib.suppress(OSError):  # it may be closed already
                connection.sendall(said)
        threads = threading.active_count()
        assert echo(address) == 0x0000
        assert threads < 100
    wait_until(lambda: not server.active_associations)


def test_a_byte_now_and_then_does_not_extend_the_time_for_a_request(receiver):
    address, _ = receiver(acse_s=1.0)
    stop = threading.Event()
    with socket.create_connection(address, timeout=GENEROUS_S) as connection:
        dripping = threading.Thread(target=drip, args=(connection, stop))
        connection.sendall(b"\x01\x00\x00\x01\x00\x00")
        dripping.start()
        with contextlib.suppress(ConnectionError):
            assert connection.recv(1) == b""
        stop.set()
        dripping.join()


def test_bytes_that_come_leave_the_deadline_of_a_request_where_it_is(receiver):
    """As above, where a busy machine makes the pauses longer than the time for a request."""
    address, server = receiver(acse_s=3600.0)
    with socket.create_connection(address, timeout=GENEROUS_S) as connection:
        connection.sendall(b"\x01\x00\x00\x01\x00\x00")
        wait_until(lambda: [len(each.received) for each in server.room._waiting] == [6])
        (waiting,) = server.room._waiting
        deadline = waiting.deadline
        connection.sendall(b"\x01")
        wait_until(lambda: len(waiting.received) == 7)
        assert waiting.deadline == deadline


def test_a_slow_tls_handshake_blocks_nobody(receiver, server_tls, client_tls):
    address, _ = receiver(tls=lambda: server_tls)
    with socket.create_connection(address), socket.create_connection(address) as half:
        half.sendall(b"\x16\x03\x01\x02\x00\x01")  # the first bytes of a handshake
        assert echo(address, tls=client_tls) == 0x0000


def test_one_host_cannot_take_every_slot(receiver):
    address, _ = receiver(associations=8, per_host=2)
    with (
        peer(address).associated(ECHO),
        peer(address).associated(ECHO),
        pytest.raises(PeerUnavailable, match="limit"),
        peer(address).associated(ECHO),
    ):
        pass


def test_a_known_caller_has_reserved_slots(receiver):
    address, _ = receiver(associations=3, reserved=1, known=frozenset({"PACS"}))
    with peer(address, "OTHER").associated(ECHO), peer(address, "OTHER").associated(ECHO):
        with pytest.raises(PeerUnavailable, match="limit"), peer(address, "X").associated(ECHO):
            pass
        assert echo(address, title="PACS") == 0x0000


def test_a_slot_is_free_as_soon_as_its_socket_is_dead(receiver):
    # Its timeout would free it, too.
    address, _ = receiver(associations=1, network_s=3600.0)
    with peer(address).associated(ECHO) as association:
        association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: admitted(address))


def admitted(address):
    try:
        return echo(address) == 0x0000
    except PeerUnavailable:
        return False


def test_a_message_has_a_size_and_a_least_speed(monkeypatch):
    clock = iter([0.0, 1.0, 69.0, 300.0])
    monkeypatch.setattr("dicom_node.net.connection.time.monotonic", lambda: next(clock))
    allowance = Allowance(timeout_s=60)
    allowance.use(100_000)  # allows ten seconds more
    allowance.use(100)
    with pytest.raises(TimeoutError, match="100100 bytes of a message came within 300 s"):
        allowance.use(1)


def test_a_message_of_more_than_a_gigabyte_is_not_read():
    allowance = Allowance(timeout_s=60)
    with pytest.raises(ConnectionAbortedError, match="more than 1024 MB"):
        allowance.use((1 << 30) + 1)
