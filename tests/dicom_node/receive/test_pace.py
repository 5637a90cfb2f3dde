"""Callers with a rate are answered later, each on its own."""

import time

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE

from dicom_node.net.callers import Caller
from dicom_node.receive import pace
from dicom_node.receive.pace import Pace, Paces
from dicom_node.receive.scp import Limits, listen
from dicom_node.receive.spool import Spool

RATE = 20.0


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [1000.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    return now


def test_turns_are_evenly_spaced_and_a_pause_earns_none(clock):
    turns = Pace(RATE)
    assert [turns.turn() for _ in range(3)] == pytest.approx([0.0, 0.05, 0.1])
    clock[0] += 10
    assert [turns.turn() for _ in range(2)] == pytest.approx([0.0, 0.05])


def test_each_caller_has_a_pace_of_its_own_and_others_have_none(clock):
    slow, other, free = Caller("A", rate=RATE), Caller("B", rate=RATE), Caller("C")
    paces = Paces([slow, other, free])
    assert [paces.turn(each) for each in (slow, other, free, None)] == [0.0] * 4
    assert [paces.turn(each) for each in (slow, slow, other)] == pytest.approx([0.05, 0.1, 0.05])
    assert paces.turn(free) == 0.0


def test_two_associations_of_a_caller_share_its_rate(tmp_path, ct_series, monkeypatch):
    """Where the machine is slower than the rate, the turns show it and not the time."""
    turns, turn = [], Pace.turn

    def counted(of):
        turns.append(of)
        return turn(of)

    monkeypatch.setattr(Pace, "turn", counted)
    limits = Limits(callers=(Caller("CT", rate=RATE),))
    server = listen("TEST", ("127.0.0.1", 0), Spool(tmp_path / "spool"), limits=limits)
    address = server.socket.getsockname()
    entity = AE("CT")
    entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    both = [entity.associate(*address) for _ in range(2)]
    begun = time.monotonic()
    for instance in ct_series(slices=3):
        for association in both:
            assert association.send_c_store(instance).Status == 0x0000
    assert time.monotonic() - begun >= 5 / RATE
    assert len(turns) == 6
    assert len(set(turns)) == 1
    server.ae.shutdown()


def test_an_association_that_ends_is_not_waited_for(clock):
    class Ended:
        is_established = False

    paces, ended = Paces([Caller("A", rate=0.1)]), Ended()
    paces.begin(ended, Caller("A", rate=0.1))
    for _ in range(3):
        paces.wait(ended)  # 20 s otherwise, for ever on this clock
