"""Callers that send no request have a bounded number of places."""

from tests.dicom_node.net.admission.room import Room, request
from tests.waiting import GENEROUS_S, wait_until

BUSY, OTHER, THIRD = "192.0.2.1", "192.0.2.2", "192.0.2.3"


def test_one_more_of_a_host_than_it_has_places_ends_the_oldest_of_that_host():
    with Room(most_per_host=2) as room:
        other, _ = room.enter(OTHER)
        first, second, _third = (room.enter(BUSY)[0] for _ in range(3))
        assert first.recv(1) == b""
        _let_in(room, other, second)


def test_one_more_than_there_are_places_ends_the_oldest_of_the_host_that_has_most():
    with Room(most=3) as room:
        other, _ = room.enter(OTHER)
        first, second = (room.enter(BUSY)[0] for _ in range(2))
        third, _ = room.enter(THIRD)
        assert first.recv(1) == b""
        _let_in(room, other, second, third)


def _let_in(room, *callers):
    """Fail unless each of these is still let in once it sends its request."""
    for number, caller in enumerate(callers, 1):
        caller.sendall(request(100))
        wait_until(lambda number=number: len(room.admitted) == number, GENEROUS_S)
