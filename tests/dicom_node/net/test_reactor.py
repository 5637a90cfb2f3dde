"""The reactor of a received association sleeps until there is something for it."""

import socket
import time

import pytest
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.net import reactor
from dicom_node.net.application_entity import ApplicationEntity
from dicom_node.sop_classes import VERIFICATION
from tests.waiting import wait_until

ECHO = [(VERIFICATION, ImplicitVRLittleEndian)]


@pytest.fixture
def look_up_never(monkeypatch):
    """Let the wait end for news alone."""
    monkeypatch.setattr(reactor, "LOOK_UP_S", 3600.0)


def associated(address):
    return ApplicationEntity("node", "TEST", *address, calling_ae_title="X").associated(ECHO)


def test_an_idle_association_looks_up_some_times_a_second(receiver, monkeypatch):
    address, server = receiver()
    with associated(address) as association:
        assert association.send_c_echo().Status == 0x0000
        (accepted,) = server.active_associations
        looks, expired = [], accepted.dul.idle_timer_expired

        def counted():
            looks.append(1)
            return expired()

        monkeypatch.setattr(accepted.dul, "idle_timer_expired", counted)
        time.sleep(1.0)
        # At most: a busy machine looks less often. Once a millisecond it would be hundreds.
        assert 1 <= len(looks) <= 1.0 / reactor.LOOK_UP_S + 1


@pytest.mark.usefixtures("look_up_never")
def test_messages_are_served_one_after_the_other_and_the_release_is_answered(receiver):
    address, server = receiver()
    with associated(address) as association:
        for _ in range(20):
            assert association.send_c_echo().Status == 0x0000
    assert association.is_released
    wait_until(lambda: not server.active_associations)


@pytest.mark.usefixtures("look_up_never")
def test_an_abort_ends_the_association(receiver):
    address, server = receiver()
    with associated(address) as association:
        association.abort()
    wait_until(lambda: not server.active_associations)


@pytest.mark.usefixtures("look_up_never")
def test_a_closed_connection_ends_the_association(receiver):
    address, server = receiver()
    with associated(address) as association:
        association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: not server.active_associations)


def test_a_receiver_that_ends_ends_its_idle_associations(receiver):
    address, server = receiver()
    with associated(address):
        server.ae.shutdown()
        wait_until(lambda: not server.active_associations)


def test_a_silent_caller_is_ended_by_the_network_timeout(receiver):
    address, server = receiver(network_s=0.5)
    with associated(address):
        wait_until(lambda: not server.active_associations)
